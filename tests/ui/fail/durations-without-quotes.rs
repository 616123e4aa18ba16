use prefork_rt::prefork;

#[prefork(graceful_timeout = 30s, backoff = 100ms..1s)]
fn main() {}
