use prefork_rt::prefork;

#[prefork(workers = 4; max_restarts = 3)]
fn main() {}
