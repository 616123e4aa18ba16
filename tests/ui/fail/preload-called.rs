use prefork_rt::prefork;

fn load() {}

#[prefork(preload = load())]
fn main() {}
