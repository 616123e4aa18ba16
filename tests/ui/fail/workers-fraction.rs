use prefork_rt::prefork;

#[prefork(workers = 1.5)]
fn main() {}
