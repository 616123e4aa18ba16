use prefork_rt::prefork;

struct Failure;

fn load() -> Result<(), Failure> {
    Ok(())
}

#[prefork(preload = load)]
fn main() {}
