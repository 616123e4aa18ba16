//! The sockets that were bound before this start, and which entry of `listen` each of them serves now.
//!
//! It must not know how they came here.

use std::fmt;
use std::fs;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::SockRef;

use super::bound_before::{BoundBefore, bound_to};
use super::inet::is_every_ipv6;
use super::inherited;
use super::label::{Label, Labelled, unnamed, without_name};
use super::listener::Listener;
use super::place::{At, Resolved};
use super::slots::{Slots, Sockets};
use crate::error::Error;
use crate::logging;

/// The sockets that no entry of `listen` has claimed yet.
pub(super) struct Unclaimed {
    pub(super) rest: Vec<BoundBefore>,
    /// All entries of `listen`: a socket that was bound for one of them serves no other.
    entries: Vec<String>,
}

/// An address or a path that needs a socket.
pub(super) enum Target<'a> {
    /// The address, and whether it leaves its port to IPv4.
    Address(SocketAddr, bool),
    Path(&'a str),
}

impl Unclaimed {
    pub(super) fn new(bound_before: Vec<BoundBefore>, places: &[Resolved]) -> Unclaimed {
        let mut entries = Vec::new();
        for Resolved { label, at, .. } in places {
            match at {
                At::Addresses(addresses) => {
                    for address in addresses {
                        entries.push(Labelled(label, address).to_string());
                    }
                }
                At::Path(unix) => entries.push(Labelled(label, &unix.path).to_string()),
                At::Inherited(_) => {}
            }
        }
        Unclaimed { rest: bound_before, entries }
    }

    /// A listener made of the first socket for this place, or of all sockets that slots have there. `None` where there
    /// is none.
    pub(super) fn claim(
        &mut self,
        label: &Label,
        place: &Target<'_>,
        per_slot: bool,
        leaves_no_trace: bool,
    ) -> Result<Option<Listener>, Error> {
        if matches!(*place, Target::Path(path) if fs::symlink_metadata(path).is_err()) {
            // No client could reach a socket whose file is gone.
            return Ok(None);
        }
        let Some(first) = self.find(label, place) else { return Ok(None) };
        let entry = self.rest[first].entry.clone();
        let is_per_slot = self.rest[first].slot.is_some();
        if is_per_slot != per_slot {
            return Err(Error::Option {
                name: "reuse_port",
                reason: format!(
                    "at {entry} the running pool has {}, which an upgrade cannot change: restart the service instead",
                    if is_per_slot { "a socket for each slot" } else { "one socket that all workers share" }
                ),
            });
        }
        let BoundBefore { stored, is_in_use, socket, .. } = &self.rest[first];
        check_families(place, socket)?;
        let (stored, is_in_use, bound) = (stored.clone(), *is_in_use, bound_to(socket));
        let shown =
            bound.map_or_else(|| Labelled(label, place).to_string(), |bound| Labelled(label, &bound).to_string());
        logging::info(&format!("listening on {shown}, {}", if is_in_use { "as before" } else { "inherited" }));
        let sockets = if is_per_slot {
            // With port 0, two listeners can have one entry and two ports.
            let (mut slots, mut others) = (Slots::new(label.kind, Vec::new()), Vec::new());
            for one in mem::take(&mut self.rest) {
                match one.slot {
                    Some(task_id) if one.entry == entry && bound_to(&one.socket) == bound => {
                        slots.add(task_id, one.socket);
                    }
                    Some(_) | None => others.push(one),
                }
            }
            self.rest = others;
            Sockets::PerSlot(slots)
        } else {
            Sockets::taken_over(self.rest.remove(first).socket, is_in_use || leaves_no_trace)?
        };
        Ok(Some(Listener::at(label, place, sockets).bound_before_as(entry, stored).in_use(is_in_use)))
    }

    /// The first socket that was bound for this entry. Otherwise the first at the same place, where the entry had
    /// another name, or port 0.
    fn find(&self, label: &Label, place: &Target<'_>) -> Option<usize> {
        let (entry, asked) = (Labelled(label, place).to_string(), Labelled(&unnamed(label.kind), place).to_string());
        let is_there = |one: &BoundBefore| {
            let bound = bound_to(&one.socket).zip(inherited::kind(&one.socket).ok());
            bound.is_some_and(|(bound, kind)| Labelled(&unnamed(kind), &bound).to_string() == asked)
        };
        let same_place = |one: &BoundBefore| {
            !self.entries.contains(&one.entry) && (without_name(&one.entry) == asked || is_there(one))
        };
        let exact = self.rest.iter().position(|one| one.entry == entry);
        exact.or_else(|| self.rest.iter().position(same_place))
    }

    /// Where an address is in use by an unclaimed socket with the same port, adds that to the error.
    pub(super) fn explain(&self, label: &Label, error: Error) -> Error {
        let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let is_part = |port: u16, one: &BoundBefore| {
            bound_to(&one.socket).is_some_and(|bound| bound.port() == port)
                && inherited::kind(&one.socket) == Ok(label.kind)
        };
        match error {
            Error::Listen { address, source, .. }
                if source.kind() == io::ErrorKind::AddrInUse
                    && port(&address).is_some_and(|port| self.rest.iter().any(|one| is_part(port, one))) =>
            {
                let advice = "the running pool holds its port at another address, and keeps it until this binary stays: \
                              restart the service instead";
                Error::Listen { address, source, advice: advice.to_owned() }
            }
            error => error,
        }
    }
}

/// Refuses a socket that serves IPv4 where this start needs one that does not, or the other way round: that is decided
/// when a socket is bound.
fn check_families(place: &Target<'_>, socket: &OwnedFd) -> Result<(), Error> {
    let Target::Address(address, only_ipv6) = *place else { return Ok(()) };
    if !is_every_ipv6(address) || SockRef::from(socket).only_v6().is_ok_and(|only| only == only_ipv6) {
        return Ok(());
    }
    Err(Error::Option {
        name: "listen",
        reason: format!(
            "the running pool {} at {address}, which an upgrade cannot change: restart the service instead",
            if only_ipv6 { "serves IPv4, too," } else { "does not serve IPv4" }
        ),
    })
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address, _) => address.fmt(f),
            Target::Path(path) => f.write_str(path),
        }
    }
}
