//! How much time a worker of this pool has from SIGTERM to SIGKILL. It must not know how that time is used.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Set before the first fork, so that each worker has it without a page of its own.
static GRACEFUL_TIMEOUT: Mutex<Option<Duration>> = Mutex::new(None);

/// Notes the option of this name, in the supervisor.
pub(crate) fn set_graceful_timeout(timeout: Duration) {
    *GRACEFUL_TIMEOUT.lock().unwrap_or_else(PoisonError::into_inner) = Some(timeout);
}

/// `None` under `PREFORK=off`, where this process is told to stop by another program, which has a timeout of its own.
pub(crate) fn graceful_timeout() -> Option<Duration> {
    *GRACEFUL_TIMEOUT.lock().unwrap_or_else(PoisonError::into_inner)
}
