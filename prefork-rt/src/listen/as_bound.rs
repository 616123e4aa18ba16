//! How a socket was when it was bound, and whether it still is: each process that has it can change it for all others.
//!
//! It must not know who has it, nor how another takes its place.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use socket2::{SockAddr, SockRef, Type};

use super::attempt::BACKLOG;
use super::inet::is_every_ipv6;
use super::label::{Label, Labelled};
use crate::grammar::Kind;
use crate::sys::{self, Admission};

/// Where a socket is bound, how many connections may wait there, and which may come.
pub(super) struct AsBound {
    kind: Kind,
    address: SockAddr,
    only_ipv6: bool,
    /// How many connections may wait to be accepted, where the system tells; of a socket that others had before, not known
    /// until it has listened again.
    room: Option<u32>,
    /// Unix sockets have nothing of it.
    admission: Option<Admission>,
    has_filter: bool,
}

/// What has become of a socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    Sound,
    /// It was so, and is as it was bound again.
    Repaired(String),
    /// It is so, and stays so.
    Lost(String),
}

impl AsBound {
    /// Of a socket that no other process has had.
    pub(super) fn fresh(kind: Kind, socket: BorrowedFd<'_>) -> Option<AsBound> {
        AsBound::of(kind, socket, sys::queue_room(socket))
    }

    /// Of a socket that this supervisor has bound before, as another binary or at another start.
    pub(super) fn taken_over(kind: Kind, socket: BorrowedFd<'_>) -> Option<AsBound> {
        AsBound::of(kind, socket, None)
    }

    /// Of a socket that this process was started with: its maker has chosen how many may wait.
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

    /// Where it is, as `listen` takes it.
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

    /// Makes a socket what it was again, as far as that is possible.
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
        // More than before do no harm.
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
            found.push("it was connected, so that it took nothing from others".to_owned());
            self.bind_again(socket)?;
        }
        still_open(socket, found)
    }

    /// A socket that has no address of its own any more, as the system had chosen its port, gets it again.
    fn bind_again(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        sys::disconnect(socket)?;
        match SockRef::from(&socket).bind(&self.address) {
            // It has one.
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
            found.push("a filter decided what came to it".to_owned());
            sys::detach_filter(socket)?;
        }
        Ok(())
    }
}

/// How many may wait there is not told.
fn check_unix(socket: BorrowedFd<'_>, found: &mut Vec<String>) -> io::Result<()> {
    still_open(socket, found)?;
    SockRef::from(&socket).listen(BACKLOG)
}

/// Nothing takes it back that a socket without a peer was shut down, but for a TCP socket.
fn still_open(socket: BorrowedFd<'_>, found: &mut Vec<String>) -> io::Result<()> {
    if !sys::is_shut_down(socket) {
        return Ok(());
    }
    found.push("it was shut down".to_owned());
    Err(io::ErrorKind::NotConnected.into())
}

/// Lets a TCP socket listen again that was handed over bound and shut down. Says whether that was necessary.
pub(super) fn revive(socket: BorrowedFd<'_>) -> bool {
    let own = SockRef::from(&socket);
    if own.r#type().ok() != Some(Type::STREAM) || sys::is_listening(&own) || own.peer_addr().is_ok() {
        return false;
    }
    let Ok(address) = own.local_addr() else { return false };
    if address.as_socket().is_none_or(|address| address.port() == 0) {
        return false;
    }
    // A port that the system had chosen is free by now. A port that was asked for is not, and then this is refused.
    let _ = own.bind(&address);
    own.listen(BACKLOG).is_ok()
}
