use prefork_rt::prefork;

#[prefork(workers = 4)]
#[prefork(workers = 5)]
fn main() {}
