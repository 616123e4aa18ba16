//! The state of a socket when it was bound, and whether the socket is still in it. Each process that has the socket can
//! change it for all others.
//!
//! It must not know which processes have the socket, nor how another takes its place.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use socket2::{SockAddr, SockRef, Type};

use super::attempt::BACKLOG;
use super::inet::is_every_ipv6;
use super::label::{Label, Labelled};
use crate::grammar::Kind;
use crate::sys::{self, Admission};

/// The state of a socket: its address, the length of its queue, and what it admits.
pub(super) struct AsBound {
    kind: Kind,
    address: SockAddr,
    only_ipv6: bool,
    /// The length of the queue of connections, where the system tells it. Not known for a socket that other processes
    /// had before, until listen(2) is called again.
    room: Option<u32>,
    /// `None` for Unix sockets.
    admission: Option<Admission>,
    has_filter: bool,
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    Sound,
    /// What was wrong with it, and is repaired.
    Repaired(String),
    /// What is wrong with it, and cannot be repaired.
    Lost(String),
}

impl AsBound {
    /// For a socket that no other process has had.
    pub(super) fn fresh(kind: Kind, socket: BorrowedFd<'_>) -> Option<AsBound> {
        AsBound::of(kind, socket, sys::queue_room(socket))
    }

    /// For a socket that this supervisor bound as another binary, or at another start.
    pub(super) fn taken_over(kind: Kind, socket: BorrowedFd<'_>) -> Option<AsBound> {
        AsBound::of(kind, socket, None)
    }

    /// For a socket that this process was started with: its maker has chosen the length of the queue.
    pub(super) fn inherited(kind: Kind, socket: BorrowedFd<'_>) -> Option<AsBound> {
        AsBound::of(kind, socket, sys::queue_room(socket).filter(|&room| room > 0))
    }

    fn of(kind: Kind, socket: BorrowedFd<'_>, room: Option<u32>) -> Option<AsBound> {
        let address = SockRef::from(&socket).local_addr().ok()?;
        let is_every = address.as_socket().is_some_and(is_every_ipv6);
        let only_ipv6 = is_every && SockRef::from(&socket).only_v6().unwrap_or(false);
        let is_inet = kind != Kind::Unix;
        let has_filter = is_inet && sys::has_filter(socket);
        let admission = is_inet.then(|| Admission::of(socket));
        Some(AsBound { kind, address, only_ipv6, room, admission, has_filter })
    }

    /// The address, and whether it leaves its port to IPv4.
    pub(super) fn inet(&self) -> Option<(SocketAddr, bool)> {
        Some((self.address.as_socket()?, self.only_ipv6))
    }

    /// The place of the socket, as `listen` takes it.
    pub(super) fn place(&self, label: &Label) -> String {
        let address = &self.address;
        if let Some(address) = address.as_socket() {
            return Labelled(label, &address).to_string();
        }
        match (address.as_pathname(), address.as_abstract_namespace()) {
            (Some(path), _) => Labelled(label, &path.display()).to_string(),
            (_, name) => {
                Labelled(label, &format_args!("@{}", String::from_utf8_lossy(name.unwrap_or_default()))).to_string()
            }
        }
    }

    /// Brings a socket back into this state, as far as possible.
    pub(super) fn check(&mut self, socket: BorrowedFd<'_>) -> Health {
        let mut found = Vec::new();
        let repaired = match self.kind {
            Kind::Tcp => self.check_tcp(socket, &mut found),
            Kind::Udp => self.check_udp(socket, &mut found),
            Kind::Unix => check_unix(socket, &mut found),
        };
        match (repaired.and_then(|()| self.check_admission(socket, &mut found)), found.join(", ")) {
            (Ok(()), found) if found.is_empty() => Health::Sound,
            (Ok(()), found) => Health::Repaired(found),
            (Err(error), found) if found.is_empty() => Health::Lost(error.to_string()),
            (Err(_), found) => Health::Lost(found),
        }
    }

    fn check_tcp(&mut self, socket: BorrowedFd<'_>, found: &mut Vec<String>) -> io::Result<()> {
        let (own, room) = (SockRef::from(&socket), sys::queue_room(socket));
        let listens = room.is_some() || sys::is_listening(&own);
        if !listens || !self.is_at_its_address(socket) {
            found.push(match own.peer_addr() {
                Ok(_) => "it was connected to another socket".to_owned(),
                Err(_) if listens => "it listened at another address".to_owned(),
                Err(_) => "it was shut down".to_owned(),
            });
            self.bind_again(socket)?;
            own.listen(BACKLOG)?;
            self.room = sys::queue_room(socket);
            return Ok(());
        }
        // A longer queue than before does no harm.
        if room.is_none() || self.room.zip(room).is_none_or(|(before, room)| room < before) {
            own.listen(self.room.and_then(|room| room.try_into().ok()).unwrap_or(BACKLOG))?;
            let (before, after) = (room, sys::queue_room(socket));
            if let Some(room) = before.filter(|_| before < after) {
                found.push(format!("no more than {room} connections could wait there"));
            }
            self.room = after;
        }
        Ok(())
    }

    fn check_udp(&self, socket: BorrowedFd<'_>, found: &mut Vec<String>) -> io::Result<()> {
        if SockRef::from(&socket).peer_addr().is_ok() {
            found.push("it was connected, so it received nothing from other senders".to_owned());
            self.bind_again(socket)?;
        }
        still_open(socket, found)
    }

    /// Disconnects a socket and binds its address again, which the system took from it where it had chosen the port
    /// itself.
    fn bind_again(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        sys::disconnect(socket)?;
        match SockRef::from(&socket).bind(&self.address) {
            // EINVAL: the socket still has an address.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => return Err(error),
            _ => {}
        }
        if self.is_at_its_address(socket) { Ok(()) } else { Err(io::ErrorKind::AddrNotAvailable.into()) }
    }

    fn is_at_its_address(&self, socket: BorrowedFd<'_>) -> bool {
        SockRef::from(&socket).local_addr().is_ok_and(|address| address.as_socket() == self.address.as_socket())
    }

    fn check_admission(&self, socket: BorrowedFd<'_>, found: &mut Vec<String>) -> io::Result<()> {
        let Some(admission) = &self.admission else { return Ok(()) };
        for (what, result) in admission.restore(socket) {
            found.push(what.to_owned());
            result?;
        }
        if !self.has_filter && sys::has_filter(socket) {
            found.push("a filter was attached to it".to_owned());
            sys::detach_filter(socket)?;
        }
        Ok(())
    }
}

/// The system does not tell the length of a Unix socket's queue, so listen(2) is called in any case.
fn check_unix(socket: BorrowedFd<'_>, found: &mut Vec<String>) -> io::Result<()> {
    still_open(socket, found)?;
    SockRef::from(&socket).listen(BACKLOG)
}

/// Only for a TCP socket without a peer can shutdown(2) be undone.
fn still_open(socket: BorrowedFd<'_>, found: &mut Vec<String>) -> io::Result<()> {
    if !sys::is_shut_down(socket) {
        return Ok(());
    }
    found.push("it was shut down".to_owned());
    Err(io::ErrorKind::NotConnected.into())
}

/// Has a TCP socket listen again that this process was started with, and that was shut down. Says whether that was
/// necessary.
pub(super) fn revive(socket: BorrowedFd<'_>) -> bool {
    let own = SockRef::from(&socket);
    if own.r#type().ok() != Some(Type::STREAM) || sys::is_listening(&own) || own.peer_addr().is_ok() {
        return false;
    }
    let Ok(address) = own.local_addr() else { return false };
    if address.as_socket().is_none_or(|address| address.port() == 0) {
        return false;
    }
    // The socket has lost a port that the system had chosen. It still has a port that was asked for, and bind(2)
    // refuses.
    let _ = own.bind(&address);
    own.listen(BACKLOG).is_ok()
}
