use prefork_rt::prefork;

#[prefork(workers = -1)]
fn main() {}
