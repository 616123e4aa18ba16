use prefork_rt::prefork;

#[prefork(crate = prefork_renamed)]
fn main(_: usize) {}
