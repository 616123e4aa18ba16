use prefork_rt::prefork;

#[prefork(colour = "blue")]
fn main() {}
