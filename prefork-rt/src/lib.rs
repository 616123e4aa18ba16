//! placeholder
#![deny(unsafe_code, missing_docs)]

#[cfg(not(unix))]
compile_error!("prefork needs fork(2): it runs on Unix only");

mod after_fork;
mod config;
mod cpu;
mod error;
mod fork_check;
mod grammar;
mod listen;
mod policy;
mod preload;
mod report;
mod start;
mod supervisor;
mod sys;
mod worker;

pub use prefork_macros::prefork;

pub use after_fork::after_fork;
pub use config::{IntoBackoff, IntoDuration, IntoListen, IntoMaxRestarts, IntoWorkers, Prefork};
pub use cpu::cpu_count;
pub use error::Error;
pub use start::{Role, fork_processes};
pub use worker::{FromWorker, Worker, task_id, worker};

/// What only the expansion of `#[prefork]` uses.
#[doc(hidden)]
pub mod __private {
    use std::process::{ExitCode, Termination};

    use crate::report;
    use crate::worker::{Needs, worker};
    use crate::{Error, Prefork, Worker};

    pub use crate::preload::preloaded;

    /// States what an argument needs before the first fork.
    pub fn needs(mut prefork: Prefork, needs: Needs) -> Prefork {
        prefork.needs.push(needs);
        prefork
    }

    /// Runs the user's `main` in every worker.
    pub fn run<T: Termination>(prefork: Prefork, main: impl FnOnce() -> T) -> ExitCode {
        prefork.run(|_| main())
    }

    /// Fills an argument in a worker, or ends the worker with a line that says why it cannot.
    pub fn argument<T>(from_worker: fn(Worker) -> Result<T, Error>) -> T {
        let filled = worker().ok_or(Error::AlreadyStarted).and_then(from_worker);
        filled.unwrap_or_else(|error| {
            report::last_line(&error);
            std::process::exit(2)
        })
    }
}
