use prefork_rt::prefork;

fn load() -> Result<(), std::num::ParseIntError> {
    let _: u8 = "4".parse()?;
    Ok(())
}

#[prefork(workers = 2, preload = load)]
fn main() {}
