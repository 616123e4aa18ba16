use prefork_rt::prefork;

#[prefork(backoff = "1s..100ms")]
fn main() {}
