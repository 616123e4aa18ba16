//! A service manager's descriptor store: what a socket is called there, and which of those that come back are still
//! listened on.
//!
//! The name says which entry of `listen` it is, as written, and for a Unix socket which file: where the file has gone or is
//! another's, nobody could reach the socket.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use socket2::SockRef;

use super::before::bound_to;
use super::inherited::{self, Inherited};
use super::{
    At, Handed, Label, Listener, Listeners, Resolved, Shown, Sockets, is_every_ipv6, shares_its_port, unix,
    without_name,
};
use crate::grammar::Kind;
use crate::report;
use crate::sys::FileId;

/// What the names of ours begin with, and no socket unit's: `prefork admin=127.0.0.1%3A9000`.
const MARK: &str = "prefork ";
/// systemd takes no longer name, and none with a colon or what cannot be printed.
const LONGEST: usize = 255;

/// A listener that this process has bound, and can have stored.
pub(super) struct Storable {
    pub(super) name: String,
    /// Of a Unix socket.
    path: Option<PathBuf>,
}

impl Storable {
    pub(super) fn inet(key: &str) -> Storable {
        Storable { name: name(key, None), path: None }
    }

    /// None where this process has made no file there, as in a rehearsal.
    pub(super) fn unix(key: &str, path: &str) -> Option<Storable> {
        Some(Storable::of_file(key, path, unix::own_file(Path::new(path))?))
    }

    /// The same entry, with another socket. None where this process has made no file for it.
    pub(super) fn again(self) -> Option<Storable> {
        let Storable { name, path } = self;
        let Some(path) = path else { return Some(Storable { name, path: None }) };
        let (entry, _) = name.rsplit_once(' ')?;
        Some(Storable { name: format!("{entry}{}", suffix(unix::own_file(&path)?)), path: Some(path) })
    }

    /// One that is stored under this name. None where the file is another by now.
    pub(super) fn unix_again(key: &str, path: &str, stored: &str) -> Option<Storable> {
        let file = file_id(stored)?;
        (unix::socket_at(Path::new(path)) == Some(file)).then(|| Storable::of_file(key, path, file))
    }

    fn of_file(key: &str, path: &str, file: FileId) -> Storable {
        Storable { name: name(key, Some(file)), path: Some(path.into()) }
    }
}

/// What the socket of an entry is called in the store.
fn name(key: &str, file: Option<FileId>) -> String {
    let mut name = MARK.to_owned();
    for byte in key.bytes() {
        // Writing to a string cannot fail.
        let _ = match byte {
            b':' | b'%' => write!(name, "%{byte:02X}"),
            _ if byte.is_ascii_graphic() => name.write_char(byte.into()),
            _ => write!(name, "%{byte:02X}"),
        };
    }
    file.into_iter().for_each(|file| name.push_str(&suffix(file)));
    name
}

/// Which file the socket has that is stored under this name.
pub(super) fn file_id(stored: &str) -> Option<FileId> {
    let (device, inode) = stored.rsplit_once(' ')?.1.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some((number(device)?, number(inode)?))
}

/// Which file the socket has that is stored under this name, for this entry of `listen`.
fn file_of(stored: &str, entry: &str) -> Option<(PathBuf, u64, u64)> {
    let path = without_name(entry).strip_prefix("unix:")?;
    let (device, inode) = file_id(stored)?;
    Some((path.into(), device, inode))
}

fn suffix((device, inode): FileId) -> String {
    format!(" {device:x}-{inode:x}")
}

pub(super) fn is_ours(socket: &Inherited) -> bool {
    socket.name.starts_with(MARK)
}

/// What was stored of each place, all of it or nothing. Returns the rest, too.
pub(super) fn restore(
    places: &[Resolved],
    mut stored: Vec<Inherited>,
    per_slot: bool,
) -> (Vec<Handed>, Vec<Inherited>) {
    let mut restored = Vec::new();
    for index in 0..places.len() {
        let Some(found) = find(index, places, &stored, per_slot) else { continue };
        let mut slots: Vec<Option<Inherited>> = stored.into_iter().map(Some).collect();
        let taken = found.into_iter().filter_map(|(position, entry)| Some((entry, slots[position].take()?)));
        restored.extend(taken.map(|(entry, Inherited { name, socket, .. })| Handed {
            entry,
            slot: None,
            stored: Some(name),
            is_in_use: false,
            socket,
        }));
        stored = slots.into_iter().flatten().collect();
    }
    (restored, stored)
}

/// Which of the sockets are all that this place needs, and what for.
fn find(index: usize, places: &[Resolved], stored: &[Inherited], per_slot: bool) -> Option<Vec<(usize, String)>> {
    let Resolved { label, key, at } = &places[index];
    match at {
        At::Addresses(_) if per_slot => None,
        At::Addresses(addresses) => {
            let name = name(key, None);
            let mut found: Vec<(usize, String)> = Vec::new();
            for &address in addresses {
                let only_ipv6 = shares_its_port(label.kind, address, addresses, places);
                let is_it = |socket: &Inherited| socket.name == name && is_at(socket, label, address, only_ipv6);
                let is_free = |position: &usize| found.iter().all(|(taken, _)| taken != position);
                let position = (0..stored.len()).find(|position| is_free(position) && is_it(&stored[*position]))?;
                found.push((position, Shown(label, &address).to_string()));
            }
            Some(found)
        }
        At::Path(unix) => {
            let name = name(key, Some(unix::socket_at(Path::new(&unix.path))?));
            let is_it = |socket: &Inherited| socket.name == name && socket.kind() == Ok(Kind::Unix);
            Some(vec![(stored.iter().position(is_it)?, Shown(label, &unix.path).to_string())])
        }
        At::Inherited(_) => None,
    }
}

/// Whether it is what binding this address would give.
fn is_at(socket: &Inherited, label: &Label, address: SocketAddr, only_ipv6: bool) -> bool {
    let fits =
        |bound: SocketAddr| bound.ip() == address.ip() && (bound.port() == address.port() || address.port() == 0);
    let same_families =
        !is_every_ipv6(address) || SockRef::from(&socket.socket).only_v6().is_ok_and(|only| only == only_ipv6);
    socket.kind() == Ok(label.kind) && bound_to(&socket.socket).is_some_and(fits) && same_families
}

/// Closes those that are listened on no more. Returns the names that are to be removed from the store.
pub(super) fn close(
    obsolete: Vec<Inherited>,
    restored: &[Handed],
    why: impl Fn(&Inherited) -> &'static str,
) -> Vec<String> {
    let is_used = |name: &str| restored.iter().any(|handed| handed.stored.as_deref() == Some(name));
    let mut names = Vec::new();
    for stored in obsolete {
        let entry = entry_of(&stored.name).unwrap_or_else(|| stored.place.clone());
        report::info(&format!("the stored socket of {entry} is closed: {}", why(&stored)));
        let name = stored.name;
        if !names.contains(&name) && !is_used(&name) {
            inherited::close(&name);
            names.push(name);
        }
    }
    names
}

/// Why a stored socket is of no use when all this is listened on.
pub(super) fn why_obsolete(stored: &Inherited, places: &[Resolved], per_slot: bool) -> &'static str {
    let entry = entry_of(&stored.name);
    match places.iter().find(|place| entry.as_ref() == Some(&place.key)).map(|place| &place.at) {
        None => "listen has no such entry any more",
        Some(At::Addresses(_)) if per_slot => "with reuse_port each slot has a socket of its own",
        Some(At::Addresses(_)) => "the entry stands for other addresses now, or for another family",
        Some(At::Path(unix))
            if unix::socket_at(Path::new(&unix.path)).is_none_or(|file| file_id(&stored.name) != Some(file)) =>
        {
            "its file is gone or belongs to another socket, so no client could reach it; the unit keeps the file with \
             RuntimeDirectoryPreserve=restart"
        }
        Some(At::Path(_) | At::Inherited(_)) => "another socket serves this entry",
    }
}

/// The entry of `listen` that a socket was stored for.
fn entry_of(stored: &str) -> Option<String> {
    let key = stored.strip_prefix(MARK)?.split(' ').next()?;
    let mut bytes = key.bytes();
    let mut entry = Vec::new();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => u8::try_from(hexadecimal(bytes.next()?)? * 16 + hexadecimal(bytes.next()?)?).ok()?,
            byte => byte,
        };
        entry.push(decoded);
    }
    String::from_utf8(entry).ok()
}

fn hexadecimal(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

/// What a service manager is to do with its store.
pub(crate) enum Change<'a> {
    Remove(&'a str),
    Store(&'a str, Kind, &'a OwnedFd),
}

/// Has the store hold what is listened on, and nothing else of ours, as far as there is room. The file of a socket that is
/// stored is left in its place for the next start. Sockets of slots are not stored: whoever comes next may have other
/// slots.
pub(crate) fn settle(listeners: &mut Listeners, room: usize, mut change: impl FnMut(Change<'_>)) {
    let mut obsolete: BTreeSet<String> = listeners.left.iter().filter_map(|left| left.stored.clone()).collect();
    obsolete.extend(listeners.listeners.iter().filter_map(Listener::outdated_name).map(str::to_owned));
    obsolete.iter().for_each(|name| change(Change::Remove(name)));
    // Nobody else has these sockets any more, so their files go at the end.
    let left = listeners.left.iter().filter_map(|left| file_of(left.stored.as_deref()?, &left.entry));
    let renamed = listeners.listeners.iter().filter_map(|own| file_of(own.outdated_name()?, &own.key));
    unix::adopt_files(left.chain(renamed));
    // It takes no socket that it has under another name; and with a name go all sockets that are called so.
    for listener in &mut listeners.listeners {
        listener.stored.take_if(|name| obsolete.contains(name));
    }
    let mut count = listeners.listeners.iter().filter(|listener| listener.stored.is_some()).count();
    for listener in listeners.listeners.iter_mut().filter(|listener| listener.stored.is_none()) {
        let (Sockets::One(socket), Some(Storable { name, path })) = (&listener.sockets, &listener.storable) else {
            continue;
        };
        if count >= room {
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
        change(Change::Store(name, listener.label.kind, socket));
        path.as_deref().into_iter().for_each(unix::leave_file);
        listener.stored = Some(name.clone());
        count += 1;
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
    fn a_name_says_which_file_it_is() {
        let name = name("local=unix:/run/a b.sock?mode=660", Some((0x1f, 0x2a)));
        assert_eq!(file_of(&name, "local=unix:/run/a b.sock"), Some(("/run/a b.sock".into(), 0x1f, 0x2a)));
        assert_eq!(file_of("prefork 127.0.0.1%3A80", "127.0.0.1:80"), None);
    }

    #[test]
    fn an_entry_can_be_read_from_its_name() {
        for (key, file) in [
            ("admin=127.0.0.1:9000", None),
            ("*:80", None),
            ("unix:/run/a b/100%\u{e4}\n.sock?mode=660", Some((0x1f, 0x2a))),
        ] {
            assert_eq!(entry_of(&name(key, file)).as_deref(), Some(key));
        }
        for foreign in ["http.socket", "prefork a%", "prefork a%2", "prefork a%zz", "prefork a%FF"] {
            assert_eq!(entry_of(foreign), None, "{foreign}");
        }
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
