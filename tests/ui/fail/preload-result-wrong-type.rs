use prefork_rt::prefork;

fn load() -> Result<u8, String> {
    Ok(1)
}

#[prefork(preload = load)]
fn main(_: &'static String) {}
