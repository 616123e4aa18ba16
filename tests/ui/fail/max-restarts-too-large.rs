use prefork_rt::prefork;

#[prefork(max_restarts = 99999999999999999999)]
fn main() {}
