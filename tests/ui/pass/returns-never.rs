#![deny(warnings)]

use prefork_rt::prefork;

#[prefork(workers = 2)]
fn main(_: usize) -> ! {
    std::process::exit(0)
}
