use prefork_rt::prefork;

#[prefork(workers = struct, max_restarts = 1)]
fn main() {}
