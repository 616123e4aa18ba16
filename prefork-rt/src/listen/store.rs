//! A service manager's descriptor store: which of the sockets that come back still serve an entry of `listen`, and what
//! the store holds from then on.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use socket2::SockRef;

use super::bound_before::{BoundBefore, bound_to};
use super::inet::is_every_ipv6;
use super::inherited::Inherited;
use super::label::{Label, Labelled};
use super::listeners::Listeners;
use super::place::{At, Resolved, shares_its_port};
use super::slots::Sockets;
use super::store_name::{LONGEST, Storable, entry_of, file_id, file_of, name};
use super::unix;
use crate::grammar::Kind;
use crate::logging;

/// The stored sockets that serve a place, for each place all that it needs or none, and the sockets that serve none.
pub(super) fn restore(
    places: &[Resolved],
    mut stored: Vec<Inherited>,
    per_slot: bool,
) -> (Vec<BoundBefore>, Vec<Inherited>) {
    let mut restored = Vec::new();
    for index in 0..places.len() {
        let Some(found) = find(index, places, &stored, per_slot) else { continue };
        let mut rest = Vec::new();
        for (position, one) in stored.into_iter().enumerate() {
            match found.iter().find(|(taken, _)| *taken == position) {
                Some((_, entry)) => {
                    let Inherited { name, socket, .. } = one;
                    let entry = entry.clone();
                    restored.push(BoundBefore { entry, slot: None, stored: Some(name), is_in_use: false, socket });
                }
                None => rest.push(one),
            }
        }
        stored = rest;
    }
    (restored, stored)
}

/// The positions of the stored sockets that this place needs, each with its entry, if all of them are there.
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
                found.push((position, Labelled(label, &address).to_string()));
            }
            Some(found)
        }
        At::Path(unix) => {
            let name = name(key, Some(unix::socket_at(Path::new(&unix.path))?));
            let is_it = |socket: &Inherited| socket.name == name && socket.kind() == Ok(Kind::Unix);
            Some(vec![(stored.iter().position(is_it)?, Labelled(label, &unix.path).to_string())])
        }
        At::Inherited(_) => None,
    }
}

/// Whether a socket is as binding this address would make it.
fn is_at(socket: &Inherited, label: &Label, address: SocketAddr, only_ipv6: bool) -> bool {
    let fits =
        |bound: SocketAddr| bound.ip() == address.ip() && (bound.port() == address.port() || address.port() == 0);
    let same_families =
        !is_every_ipv6(address) || SockRef::from(&socket.socket).only_v6().is_ok_and(|only| only == only_ipv6);
    socket.kind() == Ok(label.kind) && bound_to(&socket.socket).is_some_and(fits) && same_families
}

/// Closes the sockets that serve no entry any more. Returns the names under which the store must drop them.
pub(super) fn close(
    obsolete: Vec<Inherited>,
    restored: &[BoundBefore],
    why: &dyn Fn(&Inherited) -> &'static str,
) -> Vec<String> {
    let is_used = |name: &str| restored.iter().any(|one| one.stored.as_deref() == Some(name));
    let mut names = Vec::new();
    for stored in obsolete {
        let entry = entry_of(&stored.name).unwrap_or_else(|| stored.place.clone());
        logging::info(&format!("the stored socket of {entry} is closed: {}", why(&stored)));
        let name = stored.name;
        if !names.contains(&name) && !is_used(&name) {
            names.push(name);
        }
    }
    names
}

/// Why a stored socket serves none of these places.
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

/// A change of the store, for the service manager.
pub(crate) enum Change<'a> {
    Remove(&'a str),
    Store(&'a str, Kind, &'a OwnedFd),
}

/// Has the store hold the sockets of these listeners, as far as there is room, and no others of prefork's. The file of
/// a stored Unix socket is left in its place for the next start. Sockets of slots are not stored, as the next start may
/// have another number of slots.
pub(crate) fn update_store(listeners: &mut Listeners, room: usize, change: &mut dyn FnMut(Change<'_>)) {
    let mut obsolete: Vec<String> = Vec::new();
    let mut remove = |name: &str, entry: &str| {
        change(Change::Remove(name));
        // No other process has this socket any more, so its file is removed at the end.
        if let Some((path, file)) = file_of(name, entry) {
            unix::adopt_file(&path, file);
        }
        obsolete.push(name.to_owned());
    };
    for left in &listeners.left {
        if let Some(name) = &left.stored {
            remove(name, &left.entry);
        }
    }
    for listener in &listeners.listeners {
        if let Some(name) = listener.outdated_name() {
            remove(name, &listener.key);
        }
    }
    // systemd takes no socket that it has under another name, and removes all sockets of a name at once.
    for listener in &mut listeners.listeners {
        listener.stored.take_if(|name| obsolete.contains(name));
    }
    let mut count = listeners.listeners.iter().filter(|listener| listener.stored.is_some()).count();
    for listener in listeners.listeners.iter_mut().filter(|listener| listener.stored.is_none()) {
        let (Sockets::One(socket), Some(Storable { name, path })) = (&listener.sockets, &listener.storable) else {
            continue;
        };
        if count >= room {
            logging::warn(&format!(
                "FileDescriptorStoreMax= leaves room for {room} listeners only: a restart of the unit loses the queues of \
                 the others; raise it to the number of listeners"
            ));
            return;
        }
        if name.len() > LONGEST {
            logging::warn(&format!(
                "the name {name:?} is too long for a stored socket: a restart of the unit loses its queue"
            ));
            continue;
        }
        change(Change::Store(name, listener.label.kind, socket));
        if let Some(path) = path {
            unix::leave_file(path);
        }
        listener.stored = Some(name.clone());
        count += 1;
    }
}
