use prefork_rt::prefork;

#[prefork(workrs = 4)]
fn main() {}
