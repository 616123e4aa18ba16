use prefork_rt::prefork;

#[prefork(workers = "four")]
fn main() {}
