use prefork_rt::prefork;

#[prefork(listen = 8080)]
fn main() {}
