//! placeholder
mod config;
mod error;
mod grammar;
mod preload;
mod worker;

pub use prefork_macros::prefork;

pub use config::Prefork;
pub use error::Error;
pub use worker::{FromWorker, Worker, task_id, worker};

/// What only the expansion of `#[prefork]` uses.
#[doc(hidden)]
pub mod __private {
    use std::process::{ExitCode, Termination};

    use crate::worker::Needs;
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
        let filled = crate::worker().ok_or(Error::AlreadyStarted).and_then(from_worker);
        filled.unwrap_or_else(|error| {
            crate::report::last_line(&error);
            std::process::exit(2)
        })
    }
}
