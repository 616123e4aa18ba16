//! What a process was started with.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::Socket;

/// The descriptors that this process was started with for it to listen on: sd_listen_fds(3). They are close-on-exec from
/// here on. They are given out once.
pub(crate) fn listen_fds() -> io::Result<Vec<OwnedFd>> {
    static GIVEN: AtomicBool = AtomicBool::new(false);
    if GIVEN.load(Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let announced = sd_notify::listen_fds()?;
    if GIVEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let owned = announced.map(|number| {
        // SAFETY: the number is open, because sd_notify has just set its flag and fails where it is not. It is nobody
        // else's: whoever started this process left it for the process with the id in LISTEN_PID, which is this one,
        // to take, and `GIVEN` says that it was not taken here before.
        unsafe { OwnedFd::from_raw_fd(number) }
    });
    Ok(owned.collect())
}

/// Whether somebody may connect to this socket: SO_ACCEPTCONN, or, where that cannot be asked, that it has no peer.
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
