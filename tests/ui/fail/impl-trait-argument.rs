use prefork_rt::prefork;

#[prefork]
fn main(_: impl Into<usize>) {}
