use prefork_rt::prefork;

#[prefork(graceful_timeout = "30")]
fn main() {}
