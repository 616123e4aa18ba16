use prefork_rt::prefork;

#[prefork(workers = 4, max_restarts = 1, workers = 5)]
fn main() {}
