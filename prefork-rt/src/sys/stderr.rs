//! Standard error, and how to write to it without ever waiting for its reader. It must not know what a line says.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use super::descriptor;
use super::outcome::is;
use super::poll::{asked, milliseconds, poll};

#[cfg(any(target_os = "linux", target_os = "android"))]
const STDERR: &str = "/proc/self/fd/2";
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const STDERR: &str = "/dev/fd/2";

/// How much a line matters, as syslog(3) counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
    Info,
    Debug,
}

impl Severity {
    /// What journald reads at the beginning of a line: sd-daemon(3). Nothing where standard error is not journald's, as
    /// far as [`recognize_journal`] has found. Async-signal-safe.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            _ if !IS_JOURNAL.load(Ordering::Relaxed) => "",
            Severity::Error => "<3>",
            Severity::Warning => "<4>",
            Severity::Info => "<6>",
            Severity::Debug => "<7>",
        }
    }
}

static IS_JOURNAL: AtomicBool = AtomicBool::new(false);

/// Finds out whether journald reads standard error: JOURNAL_STREAM has the device and the inode of the socket that a service
/// manager has put there. Where standard error was redirected since then, it is another file.
pub(crate) fn recognize_journal() {
    let socket = std::env::var("JOURNAL_STREAM").ok();
    let metadata = || io::stderr().as_fd().try_clone_to_owned().and_then(|stderr| File::from(stderr).metadata());
    let is_it = socket
        .is_some_and(|socket| metadata().is_ok_and(|stderr| socket == format!("{}:{}", stderr.dev(), stderr.ino())));
    IS_JOURNAL.store(is_it, Ordering::Relaxed);
}

/// What standard error is: how to write to it without waiting depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A pipe or a terminal, opened once more, with this number: non-blocking mode belongs to an opening of a file, and other
    /// processes share the opening that this process was started with.
    Reopened(RawFd),
    /// A socket: each send can say that it does not wait.
    Socket,
    /// A pipe that could not be opened again, because it is another user's: each write can say that it does not wait, where
    /// the kernel supports that for pipes.
    Pipe,
    /// A file, which takes every line, or anything else that could not be opened again. Each write first asks poll(2).
    Asked,
}

impl Kind {
    fn open() -> Kind {
        recognize_journal();
        let Ok(status) = descriptor::status(libc::STDERR_FILENO) else { return Kind::Asked };
        let kind = status.st_mode & libc::S_IFMT;
        if kind == libc::S_IFSOCK {
            return Kind::Socket;
        }
        if kind != libc::S_IFIFO && kind != libc::S_IFCHR {
            return Kind::Asked;
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        match OpenOptions::new().write(true).custom_flags(flags).open(STDERR) {
            Ok(file) => Kind::Reopened(file.into_raw_fd()),
            Err(_) if kind == libc::S_IFIFO => Kind::Pipe,
            Err(_) => Kind::Asked,
        }
    }

    /// Writes with one call, or fails: it never waits.
    pub(crate) fn write(self, line: &[u8]) -> io::Result<()> {
        let written = match self {
            Kind::Reopened(number) => descriptor::write(number, line)?,
            Kind::Socket => send(line)?,
            Kind::Pipe => match write_without_waiting(line) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => write_if_ready(line)?,
                written => written?,
            },
            Kind::Asked => write_if_ready(line)?,
        };
        if written == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// A number that is not 0, and another one for each.
    fn code(self) -> i32 {
        match self {
            Kind::Reopened(number) => number + 1,
            Kind::Socket => -1,
            Kind::Pipe => -2,
            Kind::Asked => -3,
        }
    }

    /// The descriptor that was opened for it.
    ///
    /// # Safety
    ///
    /// No other code uses the descriptor from now on.
    #[inline]
    unsafe fn into_descriptor(self) -> Option<OwnedFd> {
        match self {
            // SAFETY: `open` has opened it and owns it no more, and the caller says that no other code does.
            Kind::Reopened(number) => Some(unsafe { OwnedFd::from_raw_fd(number) }),
            Kind::Socket | Kind::Pipe | Kind::Asked => None,
        }
    }

    #[inline]
    fn of(code: i32) -> Option<Kind> {
        match code {
            0 => None,
            -1 => Some(Kind::Socket),
            -2 => Some(Kind::Pipe),
            ..-2 => Some(Kind::Asked),
            1.. => Some(Kind::Reopened(code - 1)),
        }
    }
}

/// Standard error for all threads of this process, opened for the first line.
///
/// It is behind no lock: to take one writes to memory, and after each fork that would copy the page of the lock.
pub(crate) struct Stderr {
    /// The code of its kind; 0 before it is opened.
    code: AtomicI32,
}

impl Stderr {
    pub(crate) const fn unopened() -> Stderr {
        Stderr { code: AtomicI32::new(0) }
    }

    /// What standard error is. Whether journald reads it is known from here on.
    pub(crate) fn opened(&self) -> Kind {
        Kind::of(self.code.load(Ordering::Acquire)).unwrap_or_else(|| self.open())
    }

    #[cold]
    fn open(&self) -> Kind {
        let kind = Kind::open();
        match self.code.compare_exchange(0, kind.code(), Ordering::Release, Ordering::Acquire) {
            Ok(_) => kind,
            // Another thread was faster.
            Err(code) => {
                // SAFETY: no other code knows of this one.
                drop(unsafe { kind.into_descriptor() });
                Kind::of(code).unwrap_or(Kind::Asked)
            }
        }
    }

    /// Takes the descriptor that was opened, if one was: the next line opens another one. Call it where no other thread writes a
    /// line, which could be lost.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn take_descriptor(&self) -> Option<OwnedFd> {
        let kind = Kind::of(self.code.swap(0, Ordering::Acquire))?;
        // SAFETY: `open` has left the descriptor to the code, which is taken out. No other thread writes a line.
        unsafe { kind.into_descriptor() }
    }
}

fn send(line: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: send(2) reads as many bytes from the pointer as the length says; both are the slice's.
    let sent = unsafe { libc::send(io::stderr().as_raw_fd(), line.as_ptr().cast(), line.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// pwritev2(2) with RWF_NOWAIT: by its number, as not every C library has a function for it.
#[cfg(target_os = "linux")]
fn write_without_waiting(line: &[u8]) -> io::Result<usize> {
    use libc::c_long;
    /// From linux/fs.h.
    const RWF_NOWAIT: c_long = 8;
    const ONE: c_long = 1;
    /// The lower and the upper half of an offset that stands for the current position: a pipe has no other.
    const HERE: c_long = -1;

    let part = libc::iovec { iov_base: line.as_ptr().cast_mut().cast(), iov_len: line.len() };
    let stderr = c_long::from(io::stderr().as_raw_fd());
    // SAFETY: pwritev2(2) reads one iovec through the pointer, and as many bytes of the slice as the iovec says. It writes
    // to neither.
    let written = unsafe { libc::syscall(libc::SYS_pwritev2, stderr, &raw const part, ONE, HERE, HERE, RWF_NOWAIT) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

#[cfg(not(target_os = "linux"))]
fn write_without_waiting(_: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes where poll(2) says that there is room. Another process may fill it between the two calls.
fn write_if_ready(line: &[u8]) -> io::Result<usize> {
    if is_ready() {
        without_file_size_signal(|| io::stderr().write(line))
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Runs a write so that a limit on the size of files (RLIMIT_FSIZE) is an error of the write, and SIGXFSZ does not end this
/// process.
pub(super) fn without_file_size_signal<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    use super::signals::set::{Set, pending};
    use super::signals::{Signal, forget_pending};
    let before = Set::one(Signal::SIGXFSZ).block();
    // A SIGXFSZ that was not pending before comes from this write. Where that cannot be known, it stays.
    let was_pending = pending().map_or(true, |pending| pending.contains(Signal::SIGXFSZ as c_int));
    let result = write();
    if let Ok(before) = before {
        // setrlimit(2): the signal comes with the error EFBIG.
        if !was_pending && result.is_err() {
            let _ = forget_pending(Signal::SIGXFSZ as c_int);
        }
        let _ = before.become_mask();
    }
    result
}

/// Writes as much of a line as standard error takes at once. Async-signal-safe.
pub(super) fn write_in_handler(line: &[u8]) {
    if is_ready() {
        // The rest is lost.
        let _ = descriptor::write(libc::STDERR_FILENO, line);
    }
}

fn is_ready() -> bool {
    loop {
        match ready_within(0) {
            // An interrupted call says nothing about standard error.
            Err(error) if is(&error, libc::EINTR) => {}
            answer => return answer.unwrap_or(false),
        }
    }
}

/// Waits until standard error takes a line, or the time is over: poll(2). It may end early.
pub(crate) fn wait_for_stderr(patience: Duration) {
    let _ = ready_within(milliseconds(patience));
}

fn ready_within(milliseconds: c_int) -> io::Result<bool> {
    let stderr = io::stderr();
    poll(&mut [asked(stderr.as_fd(), libc::POLLOUT)], milliseconds).map(|ready| ready == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_code_of_its_own_which_is_not_that_of_one_that_is_not_open() {
        assert!(Kind::of(0).is_none());
        let kinds = [Kind::Reopened(0), Kind::Reopened(7), Kind::Socket, Kind::Pipe, Kind::Asked];
        for kind in kinds {
            assert_eq!(Kind::of(kind.code()), Some(kind));
        }
    }

    #[test]
    fn what_was_opened_is_taken_once_and_then_opened_again() {
        let stderr = Stderr::unopened();
        assert!(stderr.take_descriptor().is_none());
        let first = stderr.opened();
        assert_eq!(stderr.opened(), first);
        let taken = stderr.take_descriptor();
        assert_eq!(taken.is_some(), matches!(first, Kind::Reopened(_)));
        assert!(stderr.take_descriptor().is_none());
        assert_eq!(stderr.opened() == first, taken.is_none(), "a descriptor that is still open has another number");
        drop(stderr.take_descriptor());
    }
}
