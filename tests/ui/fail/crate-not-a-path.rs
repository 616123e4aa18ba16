use prefork_rt::prefork;

#[prefork(crate = 4)]
fn main() {}
