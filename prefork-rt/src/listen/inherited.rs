//! A socket that this process was started with.
//!
//! It must not know whether systemd, another program or the previous binary has left it.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use socket2::{Domain, SockRef, Type};

use super::label::{Labelled, unnamed};
use crate::grammar::Kind;
use crate::sys;

/// What systemd writes for a socket without a name, for an accepted connection, and for a descriptor that was stored
/// without a name.
const NO_NAMES: [&str; 4] = ["", "unknown", "connection", "stored"];

/// A socket that this process was started with.
pub(crate) struct Inherited {
    /// Its name in LISTEN_FDNAMES.
    pub(crate) name: String,
    pub(super) socket: OwnedFd,
    /// Its address or path.
    pub(super) place: String,
    /// The number of the descriptor when the process was started.
    pub(super) number: usize,
    /// It came from the previous binary, whose workers use it, too.
    pub(super) is_in_use: bool,
}

impl Inherited {
    /// A socket that came with this name and number.
    pub(super) fn new(name: String, number: usize, socket: OwnedFd) -> Inherited {
        let place = place(&socket);
        Inherited { name, socket, place, number, is_in_use: false }
    }

    /// A socket that came with this name and number when the previous binary was started, whose workers use it.
    pub(crate) fn from_previous(name: String, number: usize, socket: OwnedFd) -> Inherited {
        Inherited { is_in_use: true, ..Inherited::new(name, number, socket) }
    }

    pub(crate) fn try_clone(&self) -> io::Result<Inherited> {
        let Inherited { name, socket, place, number, is_in_use } = self;
        let (socket, name, place) = (socket.try_clone()?, name.clone(), place.clone());
        Ok(Inherited { name, socket, place, number: *number, is_in_use: *is_in_use })
    }

    /// Its name, if it has one.
    pub(super) fn own_name(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| !NO_NAMES.contains(name))
    }

    pub(super) fn kind(&self) -> Result<Kind, &'static str> {
        kind(&self.socket)
    }
}

/// Its kind, or what it is instead, if no listener can be made of it.
pub(super) fn kind(socket: &OwnedFd) -> Result<Kind, &'static str> {
    let socket = SockRef::from(socket);
    let (Ok(kind), Ok(address)) = (socket.r#type(), socket.local_addr()) else { return Err("no socket") };
    let is_inet = matches!(address.domain(), Domain::IPV4 | Domain::IPV6);
    match kind {
        Type::STREAM if !is_inet && !address.is_unix() => Err("a stream socket of another family"),
        Type::STREAM if !sys::is_listening(&socket) => Err("a stream socket that does not listen (Accept=yes?)"),
        Type::STREAM if is_inet => Ok(Kind::Tcp),
        Type::STREAM => Ok(Kind::Unix),
        Type::DGRAM if is_inet => Ok(Kind::Udp),
        Type::DGRAM if address.is_unix() => Err("a Unix datagram socket"),
        _ => Err("a socket of another type"),
    }
}

/// `"http.socket" (descriptor 3), unix:/run/app.sock`
impl fmt::Display for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.own_name() {
            Some(name) => write!(f, "{name:?} (descriptor {}), ", self.number)?,
            None => write!(f, "descriptor {}, ", self.number)?,
        }
        match self.kind() {
            Ok(kind) => Labelled(&unnamed(kind), &self.place).fmt(f),
            Err(what) => f.write_str(what),
        }
    }
}

/// The address or path of a socket, without its kind.
fn place(socket: &OwnedFd) -> String {
    let Ok(address) = SockRef::from(socket).local_addr() else { return "nowhere".to_owned() };
    if let Some(address) = address.as_socket() {
        return address.to_string();
    }
    match (address.as_pathname(), address.as_abstract_namespace()) {
        (Some(path), _) => path.display().to_string(),
        (_, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
        _ => "nowhere".to_owned(),
    }
}
