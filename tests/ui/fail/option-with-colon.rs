use prefork_rt::prefork;

#[prefork(workers: 4, max_restarts(5), backoff == "1s")]
fn main() {}
