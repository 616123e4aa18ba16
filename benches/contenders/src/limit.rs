//! The limit: the least that keeps workers alive, in a program that holds nothing else.

use std::process::ExitCode;

use contenders::bare_loop::bare_loop;
use contenders::body::work;
use contenders::contest::{contend, refuse};

fn main() -> ExitCode {
    contend(|name, workers| match name {
        "loop" => bare_loop(workers, work),
        _ => refuse(name),
    })
}
