//! A socket that was bound before this start, by the previous binary or by the last start of the service.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::SockRef;

/// A socket that was bound for an entry of `listen` by the binary before, or before a restart of the service. Those of
/// slots come in the order in which the kernel has them.
pub(crate) struct BoundBefore {
    pub(crate) entry: String,
    /// Whose it is, where each slot has its own.
    pub(crate) slot: Option<usize>,
    /// What it is called in a service manager's store, if it is there.
    pub(crate) stored: Option<String>,
    /// It came from the binary before, whose workers have it, too.
    pub(crate) is_in_use: bool,
    pub(crate) socket: OwnedFd,
}

pub(super) fn bound_to(socket: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(socket).local_addr().ok()?.as_socket()
}
