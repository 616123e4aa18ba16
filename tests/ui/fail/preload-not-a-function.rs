use prefork_rt::prefork;

const LOAD: u8 = 1;

#[prefork(preload = LOAD)]
fn main(_: &u8) {}
