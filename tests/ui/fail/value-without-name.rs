use prefork_rt::prefork;

#[prefork(4)]
fn main() {}
