#![deny(warnings)]
#![allow(dead_code, non_upper_case_globals)]

use prefork_rt::prefork;

mod std {}
mod core {}
struct Option;
struct Result;
struct Some;
struct Ok;
struct Err;
struct ExitCode;
struct Prefork;
struct FromWorker;
static code: () = ();
const prefork: () = ();

fn run() {}
fn needs() {}

fn prefork_count() -> usize {
    2
}

mod named {
    pub fn prefork() -> usize {
        crate::prefork_count()
    }
}

fn load() {}

use named::prefork as prefork_fn;

#[prefork(workers = prefork_fn(), preload = load)]
fn main(_: usize) {
    run();
    needs();
}
