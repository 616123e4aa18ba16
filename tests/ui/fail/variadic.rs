use prefork_rt::prefork;

#[prefork]
unsafe extern "C" fn main(_: usize, _: ...) {}
