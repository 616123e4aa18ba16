use prefork_rt::prefork;

#[prefork(preload = "load")]
fn main() {}
