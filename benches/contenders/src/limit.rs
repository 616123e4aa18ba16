//! The limit: the least that keeps workers alive, in a program that holds nothing else.

use std::process::ExitCode;

use contenders::bare_loop;
use contenders::contest::contend;

fn main() -> ExitCode {
    contend(bare_loop::contend)
}
