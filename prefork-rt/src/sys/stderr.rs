//! Standard error, and how to write to it without ever waiting for its reader. It must not know what a line says.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
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
pub(crate) enum Stderr {
    /// A pipe or a terminal, opened once more: non-blocking mode belongs to an opening of a file, and other processes share
    /// the opening that this process was started with.
    Reopened(File),
    /// A socket: each send can say that it does not wait.
    Socket,
    /// A pipe that could not be opened again, because it is another user's: each write can say that it does not wait, where
    /// the kernel supports that for pipes.
    Pipe,
    /// A file, which takes every line, or anything else that could not be opened again. Each write first asks poll(2).
    Asked,
}

impl Stderr {
    pub(crate) fn open() -> Stderr {
        recognize_journal();
        let Ok(status) = descriptor::status(libc::STDERR_FILENO) else { return Stderr::Asked };
        let kind = status.st_mode & libc::S_IFMT;
        if kind == libc::S_IFSOCK {
            return Stderr::Socket;
        }
        if kind != libc::S_IFIFO && kind != libc::S_IFCHR {
            return Stderr::Asked;
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        match OpenOptions::new().write(true).custom_flags(flags).open(STDERR) {
            Ok(file) => Stderr::Reopened(file),
            Err(_) if kind == libc::S_IFIFO => Stderr::Pipe,
            Err(_) => Stderr::Asked,
        }
    }

    /// The descriptor that was opened, if one was.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn into_descriptor(self) -> Option<OwnedFd> {
        match self {
            Stderr::Reopened(file) => Some(file.into()),
            Stderr::Socket | Stderr::Pipe | Stderr::Asked => None,
        }
    }

    /// Writes with one call, or fails: it never waits.
    pub(crate) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let written = match self {
            Stderr::Reopened(file) => file.write(line)?,
            Stderr::Socket => send(line)?,
            Stderr::Pipe => match write_without_waiting(line) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => write_if_ready(line)?,
                written => written?,
            },
            Stderr::Asked => write_if_ready(line)?,
        };
        if written == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
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
