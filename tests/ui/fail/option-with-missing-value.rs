use prefork_rt::prefork;

#[prefork(workers =, max_restarts =)]
fn main() {}
