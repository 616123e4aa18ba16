//! Waiting until a descriptor is ready: poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long to sleep instead where the system cannot wait.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until standard output takes more: poll(2).
pub(crate) fn wait_for_stdout() {
    let stdout = io::stdout();
    let _ = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
}

/// Waits until the descriptor can be read, or the time is over: poll(2). Returns whether it can be read; `false` may come
/// early.
pub(crate) fn wait_readable(descriptor: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
    // Rounded up, so that the last millisecond is not spent in a loop. A wait that is too long for one call may end early.
    let milliseconds = |timeout: Duration| PollTimeout::try_from(timeout.as_nanos().div_ceil(1_000_000));
    let call_timeout = timeout.map_or(PollTimeout::NONE, |timeout| milliseconds(timeout).unwrap_or(PollTimeout::MAX));
    match poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], call_timeout) {
        Ok(ready) => ready == 1,
        Err(Errno::EINTR) => false,
        Err(_) => {
            // There is no memory, or RLIMIT_NOFILE is 0. The caller will ask again, and must not do so without a pause.
            std::thread::sleep(timeout.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
            false
        }
    }
}
