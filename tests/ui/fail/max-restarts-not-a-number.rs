use prefork_rt::prefork;

#[prefork(max_restarts = "never")]
fn main() {}
