use prefork_rt::prefork;

async fn load() {}

#[prefork(preload = load)]
fn main() {}
