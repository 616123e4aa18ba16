//! Waiting until a descriptor is ready: poll(2).
#![allow(unsafe_code)]

use std::ffi::{c_int, c_short};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::outcome::{checked, is};

/// How long to sleep instead where the system cannot wait.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// As a time in milliseconds: until a descriptor is ready.
const FOREVER: c_int = -1;

/// Waits until standard output takes more: poll(2).
pub(crate) fn wait_for_stdout() {
    let stdout = io::stdout();
    let _ = poll(&mut [asked(stdout.as_fd(), libc::POLLOUT)], FOREVER);
}

/// Waits until the descriptor can be read, or the time is over: poll(2). Returns whether it can be read; `false` may come
/// early.
pub(crate) fn wait_readable(descriptor: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
    // Rounded up, so that the last millisecond is not spent in a loop. A wait that is too long for one call may end early.
    let milliseconds =
        |timeout: Duration| c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX);
    match poll(&mut [to_read(descriptor)], timeout.map_or(FOREVER, milliseconds)) {
        Ok(ready) => ready == 1,
        Err(error) if is(&error, libc::EINTR) => false,
        Err(_) => {
            // There is no memory, or RLIMIT_NOFILE is 0. The caller will ask again, and must not do so without a pause.
            std::thread::sleep(timeout.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
            false
        }
    }
}

/// What to ask [`poll`] of a descriptor: whether it can be read, or is at its end.
#[inline]
pub(super) fn to_read(descriptor: BorrowedFd<'_>) -> libc::pollfd {
    asked(descriptor, libc::POLLIN)
}

/// What to ask [`poll`] of a descriptor: these events, of POLLIN and POLLOUT.
#[inline]
pub(super) fn asked(descriptor: BorrowedFd<'_>, events: c_short) -> libc::pollfd {
    libc::pollfd { fd: descriptor.as_raw_fd(), events, revents: 0 }
}

/// Waits until something that was asked is so, or this many milliseconds are over, and returns for how many descriptors it is
/// so: poll(2). Async-signal-safe.
pub(super) fn poll(asked: &mut [libc::pollfd], milliseconds: c_int) -> io::Result<c_int> {
    // SAFETY: poll(2) reads and writes as many structures as the second argument says; they are the slice's.
    checked(unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, milliseconds) })
}
