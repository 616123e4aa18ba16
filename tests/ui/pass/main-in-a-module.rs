mod inner {
    #[prefork_rt::prefork(workers = 2)]
    pub fn main(_: usize) {}
}

use inner::main;
