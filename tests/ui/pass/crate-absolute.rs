#[prefork_rt::prefork(crate = ::prefork_rt, workers = 2)]
fn main(_: usize) {}
