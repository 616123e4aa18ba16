use prefork_rt::prefork;

#[prefork]
#[prefork_rt::prefork]
fn main() {}
