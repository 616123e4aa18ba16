use prefork_rt::prefork;

#[prefork(listen = "localhost:80")]
fn main() {}
