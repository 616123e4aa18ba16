//! The descriptors that this process was started with, to listen on.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::Socket;

use super::{descriptor, take_over};

/// The first of the descriptors: SD_LISTEN_FDS_START.
pub(crate) const FIRST_LISTEN_FD: RawFd = 3;

/// The `count` descriptors that this process was started with, to listen on: sd_listen_fds(3). They are close-on-exec from
/// here on. A second call returns none.
///
/// # Errors
///
/// One of them is not open, or was opened by this program itself and not left by its caller.
pub(crate) fn listen_fds(count: RawFd) -> io::Result<Vec<OwnedFd>> {
    static GIVEN: AtomicBool = AtomicBool::new(false);
    if GIVEN.load(Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let end = FIRST_LISTEN_FD.checked_add(count).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
    // All are checked before the first is taken, so that an error takes none.
    for number in FIRST_LISTEN_FD..end {
        came_through_exec(number)?;
    }
    GIVEN.store(true, Ordering::Relaxed);
    let mut descriptors = Vec::new();
    for number in FIRST_LISTEN_FD..end {
        descriptors.push(take_over(number)?);
    }
    Ok(descriptors)
}

/// Checks that a descriptor is open, and was open when this program was started: fcntl(2). A descriptor that came through
/// exec(2) is not close-on-exec, and those that Rust's library opens are.
fn came_through_exec(number: RawFd) -> io::Result<()> {
    match descriptor::flags(number) {
        Err(error) => Err(named(number, &error)),
        Ok(flags) if flags & libc::FD_CLOEXEC != 0 => {
            Err(io::Error::other(format!("descriptor {number} was opened by this program")))
        }
        Ok(_) => Ok(()),
    }
}

fn named(number: RawFd, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("descriptor {number}: {error}"))
}

/// Whether clients can connect to this socket: SO_ACCEPTCONN. Where that cannot be asked, a socket without a peer counts as
/// one that listens.
pub(crate) fn is_listening(socket: &Socket) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    {
        socket.is_listener().unwrap_or(false)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    {
        socket.peer_addr().is_err()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    /// Descriptors that were announced to another program do not include what this one has opened.
    #[test]
    fn what_this_program_has_opened_did_not_come_through_exec() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        let why = came_through_exec(file.as_raw_fd()).expect_err("it is close-on-exec").to_string();
        assert_eq!(why, format!("descriptor {} was opened by this program", file.as_raw_fd()));
        assert!(came_through_exec(1 << 20).is_err());
        assert!(came_through_exec(0).is_ok());
    }
}
