//! A service manager's descriptor store: what a socket is called there, and which of those that come back are still
//! listened on.
//!
//! The name says which entry of `listen` it is, as written, and for a Unix socket which file: where the file has gone or is
//! another's, nobody could reach the socket.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use socket2::SockRef;

use super::inherited::{self, Inherited};
use super::{At, Label, Listeners, Resolved, Sockets, is_every_ipv6, shares_its_port, unix};
use crate::grammar::Kind;
use crate::report;

/// What the names of ours begin with, and no socket unit's: `prefork admin=127.0.0.1%3A9000`.
const MARK: &str = "prefork ";
/// systemd takes no longer name, and none with a colon or what cannot be printed.
const LONGEST: usize = 255;

/// A listener that this process has bound, and can have stored.
pub(super) struct Storable {
    name: String,
    /// Of a Unix socket.
    path: Option<PathBuf>,
}

impl Storable {
    pub(super) fn inet(key: &str) -> Storable {
        Storable { name: name(key, None), path: None }
    }

    /// None where the file has gone already.
    pub(super) fn unix(key: &str, path: &str) -> Option<Storable> {
        let path = PathBuf::from(path);
        Some(Storable { name: name(key, Some(unix::socket_at(&path)?)), path: Some(path) })
    }
}

/// What the socket of an entry is called in the store.
fn name(key: &str, file: Option<(u64, u64)>) -> String {
    let mut name = MARK.to_owned();
    for byte in key.bytes() {
        // Writing to a string cannot fail.
        let _ = match byte {
            b':' | b'%' => write!(name, "%{byte:02X}"),
            _ if byte.is_ascii_graphic() => name.write_char(byte.into()),
            _ => write!(name, "%{byte:02X}"),
        };
    }
    if let Some((device, inode)) = file {
        let _ = write!(name, " {device:x}-{inode:x}");
    }
    name
}

pub(super) fn is_ours(socket: &Inherited) -> bool {
    socket.name.starts_with(MARK)
}

/// Gives each place what was stored of it, all of it or nothing. Returns the rest.
pub(super) fn restore(places: &mut [Resolved], mut stored: Vec<Inherited>) -> Vec<Inherited> {
    for index in 0..places.len() {
        let Some(found) = find(index, places, &stored) else { continue };
        let mut slots: Vec<Option<Inherited>> = stored.into_iter().map(Some).collect();
        let taken = found.into_iter().filter_map(|position| slots[position].take()).collect();
        stored = slots.into_iter().flatten().collect();
        places[index].at = match &places[index].at {
            At::Path(unix) => At::Inherited(at_its_path(taken, &unix.path)),
            At::Addresses(_) | At::Inherited(_) => At::Inherited(taken),
        };
    }
    stored
}

/// It is bound at another path, before it is renamed.
fn at_its_path(mut sockets: Vec<Inherited>, path: &str) -> Vec<Inherited> {
    sockets.iter_mut().for_each(|socket| path.clone_into(&mut socket.place));
    sockets
}

/// Which of the sockets are all that this place needs.
fn find(index: usize, places: &[Resolved], stored: &[Inherited]) -> Option<Vec<usize>> {
    let Resolved { label, key, at } = &places[index];
    match at {
        At::Addresses(addresses) => {
            let name = name(key, None);
            let mut found = Vec::new();
            for &address in addresses {
                let only_ipv6 = shares_its_port(label.kind, address, addresses, places);
                let is_it = |socket: &Inherited| socket.name == name && is_at(socket, label, address, only_ipv6);
                found.push((0..stored.len()).find(|position| !found.contains(position) && is_it(&stored[*position]))?);
            }
            Some(found)
        }
        At::Path(unix) => {
            let name = name(key, Some(unix::socket_at(Path::new(&unix.path))?));
            let is_it = |socket: &Inherited| socket.name == name && socket.kind() == Ok(Kind::Unix);
            Some(vec![stored.iter().position(is_it)?])
        }
        At::Inherited(_) => None,
    }
}

/// Whether it is what binding this address would give.
fn is_at(socket: &Inherited, label: &Label, address: SocketAddr, only_ipv6: bool) -> bool {
    let fits =
        |bound: SocketAddr| bound.ip() == address.ip() && (bound.port() == address.port() || address.port() == 0);
    let sock = SockRef::from(&socket.socket);
    let bound = sock.local_addr().ok().and_then(|bound| bound.as_socket());
    let same_families = !is_every_ipv6(address) || sock.only_v6().is_ok_and(|only| only == only_ipv6);
    socket.kind() == Ok(label.kind) && bound.is_some_and(fits) && same_families
}

/// Closes those that are listened on no more. Returns the names that are to be removed from the store.
pub(super) fn close(obsolete: Vec<Inherited>, places: &[Resolved]) -> Vec<String> {
    let is_used = |name: &str| {
        places.iter().any(|place| match &place.at {
            At::Inherited(sockets) => sockets.iter().any(|socket| socket.name == name),
            At::Addresses(_) | At::Path(_) => false,
        })
    };
    let mut names = Vec::new();
    for Inherited { name, place, .. } in obsolete {
        report::info(&format!("the stored socket {place} is not listened on any more, or lost its file: it is closed"));
        if !names.contains(&name) && !is_used(&name) {
            inherited::close(&name);
            names.push(name);
        }
    }
    names
}

/// Has those listeners stored that this process has bound, as far as there is room. The file of one that is stored is
/// left in its place for the next start. Sockets of slots are not stored: whoever comes next may have other slots.
pub(crate) fn keep(listeners: &Listeners, room: usize, mut store: impl FnMut(&str, Kind, &OwnedFd)) {
    let shared = listeners.listeners.iter().filter_map(|listener| match &listener.sockets {
        Sockets::One(socket) => Some((listener, socket)),
        Sockets::PerSlot(_) | Sockets::Taken => None,
    });
    let storable =
        shared.filter_map(|(listener, socket)| Some((listener.storable.as_ref()?, listener.label.kind, socket)));
    for (count, (Storable { name, path }, kind, socket)) in (1..).zip(storable) {
        if count > room {
            report::warn(&format!(
                "FileDescriptorStoreMax= leaves room for {room} listeners only: a restart of the unit loses the queues of \
                 the others; raise it to the number of listeners"
            ));
            return;
        }
        if name.len() > LONGEST {
            report::warn(&format!(
                "the name {name:?} is too long for a stored socket: a restart of the unit loses its queue"
            ));
            continue;
        }
        store(name, kind, socket);
        path.as_deref().into_iter().for_each(unix::leave_file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_and_have_no_character_that_a_store_refuses() {
        assert_eq!(name("admin=127.0.0.1:9000", None), "prefork admin=127.0.0.1%3A9000");
        let name = name("unix:/run/a b/100%\u{e4}\n.sock?mode=660", Some((0x1f, 0x2a)));
        assert_eq!(name, "prefork unix%3A/run/a%20b/100%25%C3%A4%0A.sock?mode=660 1f-2a");
        assert!(name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b':'));
    }

    #[test]
    fn what_differs_has_another_name() {
        let keys = ["a=[::1]:80", "a=[%3A:1]:80", "a=[::1]:80 ", "a =[::1]:80"];
        let mut names: Vec<String> = keys.iter().map(|key| name(key, None)).collect();
        names.extend([name("a", Some((1, 2))), name("a 1-2", None), name("a", Some((1, 3)))]);
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
