use prefork_rt::prefork;

#[prefork(workers)]
fn main() {}
