use prefork_rt::prefork;

#[prefork(graceful_timeout = "a while")]
fn main() {}
