//! The handoff of the previous binary, which waits here until the supervisor takes it over, or the start fails and this
//! process goes back to that binary.
//!
//! It must not know what is in it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::launch::Launch;
use super::received::{Received, receive};
use crate::error::Error;
use crate::listen;

/// The handoff of the previous binary, if there is one.
#[derive(Default)]
pub(crate) struct Handoff(Mutex<Option<Received>>);

impl Handoff {
    /// Receives the handoff that the variable with this value announces. Returns whether it was meant for this process.
    pub(crate) fn receive(&self, number: &str, is_rehearsal: bool, launch: &Launch) -> Result<bool, Error> {
        let (received, result) = receive(number, is_rehearsal, launch);
        let is_ours = received.is_some();
        // It is kept in any case, as the way back leads through it.
        *self.received() = received;
        result.map(|()| is_ours)
    }

    /// The handoff that was received and not taken yet.
    pub(crate) fn received(&self) -> MutexGuard<'_, Option<Received>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process takes over from a previous binary, or rehearses that.
    pub(crate) fn is_there(&self) -> bool {
        self.received().is_some()
    }

    /// The CPU time that this process had used before it became this binary: exec(2) does not set it back.
    pub(crate) fn cpu_time_before(&self) -> Duration {
        self.received().as_ref().map_or(Duration::ZERO, |received| received.cpu_time)
    }

    pub(crate) fn take(&self) -> Option<Received> {
        self.received().take()
    }

    /// Tells the running binary that this one would start.
    pub(crate) fn say_rehearsed(&self) -> Result<(), Error> {
        self.take().map_or(Ok(()), Received::sign)
    }

    /// Becomes the previous binary again, if there is one, as this one cannot start. Returns the error if there is
    /// none.
    pub(crate) fn go_back_or(&self, error: Error) -> Error {
        let Some(received) = self.take() else { return error };
        // The sockets that this binary bound are closed by now, and the previous one does not know them.
        listen::remove_files();
        received.go_back(format!("it passed its rehearsal, but could not start: {error}"));
        error
    }

    /// Runs code of the program. If that panics, becomes the previous binary again, if there is one.
    pub(crate) fn or_back<R>(&self, code: impl FnOnce() -> R) -> R {
        if !self.is_there() {
            return code();
        }
        catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|panic| {
            if let Some(received) = self.take() {
                received.go_back("it passed its rehearsal, but panicked at its start".to_owned());
            }
            resume_unwind(panic)
        })
    }
}
