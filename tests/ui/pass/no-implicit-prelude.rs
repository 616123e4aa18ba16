#![no_implicit_prelude]
#![deny(warnings)]

use ::prefork_rt::prefork;
use ::std::primitive::{u8, usize};
use ::std::result::Result::{self, Ok};
use ::std::string::String;

fn load() -> Result<u8, String> {
    Ok(1)
}

#[prefork(workers = 1 + 1, max_restarts = 3, backoff = "0s", preload = load)]
fn main(_: usize, _: &u8) -> Result<(), String> {
    Ok(())
}
