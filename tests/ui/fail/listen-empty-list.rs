use prefork_rt::prefork;

#[prefork(listen = [])]
fn main() {}
