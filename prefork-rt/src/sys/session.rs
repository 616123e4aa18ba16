//! Leading a session, and having a terminal that can be written to and not read from.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::stat::{dev_t, fstat};
use nix::unistd::{self, isatty};

use super::threads::is_close_on_exec;
use super::{descriptors, getsid, of_call};

/// Makes this process, which leads no process group, the leader of a session and a group of its own, without a
/// controlling terminal: setsid(2).
pub(crate) fn lead_session() -> io::Result<()> {
    unistd::setsid().map(drop).map_err(of_call("setsid(2)"))
}

/// A terminal that this process can read from, and an opening of it for writing only.
pub(crate) struct ReadableTerminal {
    descriptor: RawFd,
    is_close_on_exec: bool,
    write_only: OwnedFd,
}

/// Finds the terminals that this process can read from: standard output and error, and whatever else is open of these
/// terminals, of standard input's and of the one that controls its session. Not standard input itself, in the place of
/// which a worker has /dev/null. Other terminals, such as serial lines, are the program's affair. An error comes with the
/// descriptor.
pub(crate) fn readable_terminals() -> Result<Vec<ReadableTerminal>, (RawFd, io::Error)> {
    let standard: Vec<dev_t> = (0..=2).filter_map(terminal).map(|(_, device)| device).collect();
    let others = descriptors().into_iter().map(|(descriptor, _)| descriptor).filter(|&descriptor| descriptor > 2);
    let is_meant = |&descriptor: &RawFd| {
        terminal(descriptor).is_some_and(|(open, device)| standard.contains(&device) || controls_us(open))
    };
    let terminals = (1..=2).chain(others).filter(is_meant);
    let readable = terminals.filter(|&descriptor| access(descriptor).is_ok_and(|access| access != OFlag::O_WRONLY));
    let opened = readable.filter_map(|descriptor| match open_for_writing(descriptor) {
        Ok(write_only) => {
            let is_close_on_exec = is_close_on_exec(descriptor);
            Some(Ok(ReadableTerminal { descriptor, is_close_on_exec, write_only }))
        }
        // It has gone since: nothing can be read from it any more.
        Err(_) if terminal(descriptor).is_none() => None,
        Err(error) => Some(Err((descriptor, error))),
    });
    opened.collect()
}

impl ReadableTerminal {
    /// Puts the opening for writing only in the place of the terminal: dup2(2).
    pub(crate) fn forbid_reading(&self) -> io::Result<()> {
        // SAFETY: dup2(2) takes any two numbers and touches no memory. Whatever in this process has the second number, the
        // standard library's handles or a file that the program opened, goes on having an open descriptor of the same
        // terminal.
        if unsafe { libc::dup2(self.write_only.as_raw_fd(), self.descriptor) } == -1 {
            return Err(of_call("dup2(2)")(io::Error::last_os_error()));
        }
        if self.is_close_on_exec {
            // SAFETY: dup2(2) has just opened it.
            let replaced = unsafe { BorrowedFd::borrow_raw(self.descriptor) };
            fcntl(replaced, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(of_call("fcntl(2)"))?;
        }
        Ok(())
    }
}

/// The descriptor and its device, if it is open and a terminal that is still connected.
fn terminal(descriptor: RawFd) -> Option<(BorrowedFd<'static>, dev_t)> {
    // SAFETY: the number is looked at after the fork check, in a process with one thread, and this thread closes none
    // meanwhile. One that is not open, as 0 to 2 may be, is EBADF of both calls.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let is_terminal = isatty(descriptor) == Ok(true);
    is_terminal.then(|| fstat(descriptor).ok()).flatten().map(|found| (descriptor, found.st_rdev))
}

fn controls_us(terminal: BorrowedFd<'_>) -> bool {
    // SAFETY: tcgetsid(3) takes any number and touches no memory.
    unsafe { libc::tcgetsid(terminal.as_raw_fd()) == getsid().as_raw() }
}

fn access(descriptor: RawFd) -> io::Result<OFlag> {
    // SAFETY: as in `terminal`.
    let flags = fcntl(unsafe { BorrowedFd::borrow_raw(descriptor) }, FcntlArg::F_GETFL)?;
    Ok(OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE)
}

/// Opens what a descriptor is open of once more, close-on-exec, and with the status flags that it has.
fn open_for_writing(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: as in `terminal`.
    let open = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let flags = OFlag::from_bits_truncate(fcntl(open, FcntlArg::F_GETFL)?);
    // A serial line without a carrier is not waited for.
    let waits_for_nothing = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let again = |path: &std::path::Path| OpenOptions::new().write(true).custom_flags(waits_for_nothing).open(path);
    let by_number = again(format!("/proc/self/fd/{descriptor}").as_ref());
    let opened = match by_number {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let nameless = |_| io::Error::other("there is no /proc, and it has no name in /dev");
            again(&unistd::ttyname(open).map_err(nameless)?)?
        }
        opened => opened?,
    };
    fcntl(&opened, FcntlArg::F_SETFL(flags & (OFlag::O_NONBLOCK | OFlag::O_APPEND)))?;
    Ok(opened.into())
}
