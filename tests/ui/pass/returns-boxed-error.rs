use prefork_rt::prefork;

#[prefork(workers = 2)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _: u8 = "4".parse()?;
    Ok(())
}
