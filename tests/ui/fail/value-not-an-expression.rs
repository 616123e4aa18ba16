use prefork_rt::prefork;

#[prefork(workers = struct, max_restarts = 4 +)]
fn main() {}
