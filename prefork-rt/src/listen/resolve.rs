//! From the entries of `listen` to places: host names are looked up, and no place is listed twice.

use std::net::{SocketAddr, ToSocketAddrs};

use super::inet;
use super::label::{Label, Labelled, unnamed};
use super::place::{At, Resolved};
use crate::error::Error;
use crate::grammar::{Entry, Host, Place};

/// Looks up the host names, and refuses a place that is listed twice.
pub(super) fn resolve(entries: Vec<Entry>) -> Result<Vec<Resolved>, Error> {
    let (mut every, mut places) = (Vec::new(), Vec::new());
    for entry in entries {
        every.push(is_every_address(&entry.place));
        places.push(resolve_one(entry)?);
    }
    let wrong = match (included(&places, &every), listed_twice(&places)) {
        (Some((every, other)), _) => format!("{every} is every address with this port, {other} too: list one of them"),
        (None, Some(twice)) => format!("{twice} is listed twice: list it once"),
        (None, None) => return Ok(places),
    };
    Err(Error::Option { name: "listen", reason: wrong })
}

fn is_every_address(place: &Place) -> bool {
    match place {
        Place::Tcp(host) | Place::Udp(host) => matches!(host, Host::Every(_)),
        Place::Unix(_) => false,
    }
}

/// Finds an entry for every address and a second entry with its port, which the first one includes. Entries with port 0
/// never conflict, because each gets another port.
fn included<'a>(places: &'a [Resolved], every: &[bool]) -> Option<(&'a str, &'a str)> {
    let port = |place: &Resolved| match &place.at {
        At::Addresses(addresses) => addresses.first().map(SocketAddr::port).filter(|&port| port != 0),
        At::Path(_) | At::Inherited(_) => None,
    };
    let is_in = |one: &Resolved, other: &Resolved| {
        one.label.kind == other.label.kind && port(one).is_some() && port(one) == port(other)
    };
    for (one, is_every) in places.iter().zip(every) {
        for other in places {
            if *is_every && !std::ptr::eq(one, other) && is_in(one, other) {
                return Some((&one.key, &other.key));
            }
        }
    }
    None
}

fn resolve_one(entry: Entry) -> Result<Resolved, Error> {
    let key = entry.to_string();
    let Entry { name, place } = entry;
    let kind = place.kind();
    let at = match &place {
        Place::Tcp(Host::Address(address)) | Place::Udp(Host::Address(address)) => At::Addresses(vec![*address]),
        Place::Tcp(Host::Every(port)) | Place::Udp(Host::Every(port)) => At::Addresses(vec![inet::every(*port)]),
        Place::Tcp(Host::Name(host, port)) | Place::Udp(Host::Name(host, port)) => {
            let found = (host.as_str(), *port).to_socket_addrs().map_err(|source| Error::Listen {
                address: place.to_string(),
                source,
                advice: "check the name, /etc/hosts and the name server, or write an IP address".to_owned(),
            })?;
            At::Addresses(inet::here(&place, found))
        }
        Place::Unix(path) => At::Path(path.clone()),
    };
    Ok(Resolved { label: Label { kind, name }, key, at })
}

/// A place that is listed twice. Port 0 means another address in each entry.
fn listed_twice(places: &[Resolved]) -> Option<String> {
    let mut listed: Vec<String> = Vec::new();
    for place in places {
        let label = unnamed(place.label.kind);
        match &place.at {
            At::Addresses(addresses) => {
                for address in addresses.iter().filter(|address| address.port() != 0) {
                    listed.push(Labelled(&label, address).to_string());
                }
            }
            At::Path(unix) => listed.push(Labelled(&label, &unix.path).to_string()),
            At::Inherited(_) => {}
        }
    }
    while let Some(last) = listed.pop() {
        if listed.contains(&last) {
            return Some(last);
        }
    }
    None
}
