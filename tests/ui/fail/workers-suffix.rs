use prefork_rt::prefork;

#[prefork(workers = 4i32)]
fn main() {}
