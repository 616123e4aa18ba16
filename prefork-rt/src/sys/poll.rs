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

/// A time for [`poll`]. It is rounded up, so that the last millisecond is not spent in a loop. A wait that is too long for one
/// call ends early.
pub(super) fn milliseconds(time: Duration) -> c_int {
    c_int::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
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

/// Waits until one of the descriptors is ready, or this many milliseconds are over: poll(2). Returns how many are ready.
/// Async-signal-safe.
pub(super) fn poll(asked: &mut [libc::pollfd], milliseconds: c_int) -> io::Result<c_int> {
    // SAFETY: poll(2) reads and writes as many structures as the second argument says; they are the slice's.
    checked(unsafe { libc::poll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, milliseconds) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::super::descriptor::pipe;
    use super::*;

    #[test]
    fn a_time_is_rounded_up_and_as_long_as_a_call_can_wait() {
        let (short, long) = (Duration::from_nanos(1), Duration::from_secs(60 * 60 * 24 * 365));
        for (time, expected) in [
            (Duration::ZERO, 0),
            (short, 1),
            (Duration::from_millis(20), 20),
            (Duration::from_millis(20) + short, 21),
            (long, c_int::MAX),
            (Duration::MAX, c_int::MAX),
        ] {
            assert_eq!(milliseconds(time), expected, "{time:?}");
        }
    }

    #[test]
    fn a_wait_of_any_length_ends_when_the_descriptor_can_be_read_or_is_at_its_end() {
        let (reader, writer) = pipe().expect("a pipe");
        let mut writer = File::from(writer);
        assert!(!wait_readable(reader.as_fd(), Some(Duration::ZERO)));
        writer.write_all(b"x").expect("written");
        for timeout in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            assert!(wait_readable(reader.as_fd(), timeout), "{timeout:?}");
        }
        let (reader, writer) = pipe().expect("a pipe");
        drop(writer);
        assert!(wait_readable(reader.as_fd(), None));
    }
}
