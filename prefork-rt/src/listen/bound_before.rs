//! A socket that was bound before this start, by the previous binary or by the last start of the service.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::SockRef;

/// A socket that was bound before this start. Those of slots come in the kernel's order.
pub(crate) struct BoundBefore {
    /// The entry of `listen` for which it was bound.
    pub(crate) entry: String,
    /// The slot that it belongs to, where each slot has a socket of its own.
    pub(crate) slot: Option<usize>,
    /// Its name in a service manager's descriptor store, if it is there.
    pub(crate) stored: Option<String>,
    /// It came from the previous binary, whose workers use it, too.
    pub(crate) is_in_use: bool,
    pub(crate) socket: OwnedFd,
}

/// The address of a TCP or UDP socket.
pub(super) fn bound_to(socket: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(socket).local_addr().ok()?.as_socket()
}
