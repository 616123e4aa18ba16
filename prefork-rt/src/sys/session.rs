//! Leading a session of its own, and making a terminal one that can be written to but not read from.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_int};
use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::outcome::checked;
use super::threads::is_close_on_exec;
use super::{descriptor, descriptors, getsid, of_call};

/// Makes this process, which leads no process group, the leader of a session and a group of its own, without a
/// controlling terminal: setsid(2).
pub(crate) fn lead_session() -> io::Result<()> {
    // SAFETY: setsid(2) takes nothing and touches no memory.
    checked(unsafe { libc::setsid() }).map(drop).map_err(of_call("setsid(2)"))
}

/// A terminal that this process can read from, and a second opening of it, for writing only.
pub(crate) struct ReadableTerminal {
    descriptor: RawFd,
    is_close_on_exec: bool,
    write_only: OwnedFd,
}

/// Finds the descriptors by which this process can read from a terminal: standard output and error, and any other
/// descriptor of a terminal that is also standard input, output or error, or that controls this session. Standard input
/// itself is left out, because a worker has /dev/null in its place. Other terminals, such as serial lines, are the program's
/// affair. An error comes with the descriptor.
pub(crate) fn readable_terminals() -> Result<Vec<ReadableTerminal>, (RawFd, io::Error)> {
    let device = |descriptor| terminal(descriptor).map(|(_, device)| device);
    let standard = [device(0), device(1), device(2)];
    let is_meant = |descriptor: RawFd| {
        terminal(descriptor).is_some_and(|(open, device)| standard.contains(&Some(device)) || controls_us(open))
    };
    // These two also where there is no /proc that lists the others.
    let mut open: Vec<RawFd> = vec![1, 2];
    for (descriptor, _) in descriptors() {
        if descriptor > 2 {
            open.push(descriptor);
        }
    }
    let mut terminals = Vec::new();
    for descriptor in open {
        if !is_meant(descriptor) || access(descriptor).map_or(true, |access| access == libc::O_WRONLY) {
            continue;
        }
        match open_for_writing(descriptor) {
            Ok(write_only) => {
                let is_close_on_exec = is_close_on_exec(descriptor);
                terminals.push(ReadableTerminal { descriptor, is_close_on_exec, write_only });
            }
            // The terminal has gone since, so nothing can be read from it any more.
            Err(_) if terminal(descriptor).is_none() => {}
            Err(error) => return Err((descriptor, error)),
        }
    }
    Ok(terminals)
}

impl ReadableTerminal {
    /// Puts the opening for writing only in the place of the terminal: dup2(2).
    pub(crate) fn forbid_reading(&self) -> io::Result<()> {
        descriptor::replace(self.descriptor, self.write_only.as_fd())?;
        if self.is_close_on_exec {
            descriptor::set_flags(self.descriptor, libc::FD_CLOEXEC).map_err(of_call("fcntl(2)"))?;
        }
        Ok(())
    }
}

/// The descriptor and its device, if it is open and a terminal that is still connected.
fn terminal(descriptor: RawFd) -> Option<(BorrowedFd<'static>, libc::dev_t)> {
    // SAFETY: the number is used after the fork check, in a process with one thread, and this thread closes no descriptor
    // meanwhile. Both calls return EBADF for a number that is not open, as 0 to 2 may be.
    let open = unsafe { BorrowedFd::borrow_raw(descriptor) };
    if open.is_terminal() { Some((open, descriptor::status(descriptor).ok()?.st_rdev)) } else { None }
}

fn controls_us(terminal: BorrowedFd<'_>) -> bool {
    // SAFETY: tcgetsid(3) takes any number and touches no memory.
    unsafe { libc::tcgetsid(terminal.as_raw_fd()) == getsid().as_raw() }
}

fn access(descriptor: RawFd) -> io::Result<c_int> {
    Ok(descriptor::status_flags(descriptor)? & libc::O_ACCMODE)
}

/// Opens the terminal of a descriptor once more, close-on-exec, with the status flags that the descriptor has.
fn open_for_writing(descriptor: RawFd) -> io::Result<OwnedFd> {
    let flags = descriptor::status_flags(descriptor)?;
    // open(2) would wait for the carrier of a serial line.
    let waits_for_nothing = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let again = |path: &Path| OpenOptions::new().write(true).custom_flags(waits_for_nothing).open(path);
    let by_number = again(format!("/proc/self/fd/{descriptor}").as_ref());
    let opened = match by_number {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let nameless = |_| io::Error::other("there is no /proc, and it has no name in /dev");
            again(&name_in_dev(descriptor).map_err(nameless)?)?
        }
        opened => opened?,
    };
    descriptor::set_status_flags(opened.as_raw_fd(), flags & (libc::O_NONBLOCK | libc::O_APPEND))?;
    Ok(opened.into())
}

/// The path of a terminal: ttyname_r(3).
fn name_in_dev(terminal: RawFd) -> io::Result<PathBuf> {
    let mut name = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: ttyname_r(3) takes any number, and writes at most this many bytes through the pointer, which is a borrow of a
    // live local.
    match unsafe { libc::ttyname_r(terminal, name.as_mut_ptr().cast(), name.len()) } {
        0 => {
            let name = CStr::from_bytes_until_nul(&name).map_err(io::Error::other)?;
            Ok(OsStr::from_bytes(name.to_bytes()).into())
        }
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
