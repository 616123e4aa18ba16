//! How the process that measures and a contender find each other.
//!
//! A contender is started as `PROGRAM NAME WORKERS`. Its standard input is the board; a byte on its standard output wakes
//! the process that measures.

use std::env;
use std::io;
use std::process::{self, ExitCode};

use nix::unistd::getppid;

use crate::board;

/// What a contender needs at its end: the process that measures, by this variable.
pub const PARENT: &str = "BENCH_PARENT";

/// Runs the contender that the program's arguments name.
pub fn contend(run: fn(&str, usize) -> ExitCode) -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (Some(name), Some(Ok(workers))) = (arguments.next(), arguments.next().map(|number| number.parse())) else {
        eprintln!("usage: PROGRAM NAME WORKERS <BOARD");
        return ExitCode::FAILURE;
    };
    if !ends_with_its_parent() {
        return ExitCode::FAILURE;
    }
    board::open(io::stdin());
    run(&name, workers)
}

/// Ties this process to the process that measures, if that one is still there.
fn ends_with_its_parent() -> bool {
    let Ok(parent) = env::var(PARENT) else {
        // Started by hand.
        return true;
    };
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM).expect("prctl(2)");
    getppid().to_string() == parent
}

/// A name that the program does not know.
pub fn refuse(name: &str) -> ! {
    eprintln!("no contender is called {name}");
    process::exit(2)
}
