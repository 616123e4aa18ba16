use prefork_rt::prefork;

#[prefork(workers = true)]
fn main() {}
