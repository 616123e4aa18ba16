use prefork_rt::prefork;

#[prefork(workers = 2)]
fn main(task_id: usize) -> Result<(), std::num::TryFromIntError> {
    let _ = u8::try_from(task_id)?;
    Ok(())
}
