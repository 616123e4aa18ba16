//! What a worker is doing, in the words that a user sees.

use std::fmt;

/// What a worker is doing: a field of [`WorkerStatus`](crate::WorkerStatus).
///
/// As text it is its name in lower case: `Display` prints it, and `FromStr` reads it.
///
/// ```
/// use prefork_rt::{State, status};
///
/// if let Some(status) = status() {
///     let ready = status.workers.iter().filter(|worker| worker.state == State::Ready).count();
///     println!("{ready} of {} workers are ready", status.workers.len());
/// }
/// assert_eq!("waiting".parse(), Ok(State::Waiting));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It was started, or is about to be, and is not ready.
    Starting,
    /// It does its work.
    Ready,
    /// It was told to end.
    Stopping,
    /// It ended, and is started again when its backoff is over.
    Waiting,
    /// It has ended and is not started again.
    Finished,
}

impl State {
    pub(crate) const ALL: [State; 5] =
        [State::Starting, State::Ready, State::Stopping, State::Waiting, State::Finished];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Starting => "starting",
            State::Ready => "ready",
            State::Stopping => "stopping",
            State::Waiting => "waiting",
            State::Finished => "finished",
        })
    }
}
