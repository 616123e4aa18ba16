//! Every place of a plan is bound, or served with a socket that was bound before this start.
//!
//! It must not know how the plan was made.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use super::attempt::Purpose;
use super::bound_before::BoundBefore;
use super::inherited::Inherited;
use super::label::{Label, Labelled};
use super::listener::Listener;
use super::listeners::Listeners;
use super::place::{At, Resolved, shares_its_port};
use super::slots::Sockets;
use super::store_name::Storable;
use super::unclaimed::{Target, Unclaimed};
use super::{inet, unix};
use crate::error::Error;
use crate::grammar::{Kind, UnixPath};
use crate::logging;

/// Binds every place that no socket serves already, or none. With a number of slots, each slot has a socket of its own
/// at each address that is not a path.
pub(crate) fn bind(
    places: &[Resolved],
    bound_before: Vec<BoundBefore>,
    slots: Option<usize>,
    purpose: Purpose,
) -> Result<Listeners, Error> {
    if slots.is_some() && places.iter().all(|place| place.label.kind == Kind::Unix) {
        logging::info("reuse_port has no effect: listen has no TCP or UDP address, and Unix sockets are shared");
    }
    let is_steered = bound_before.iter().any(|one| one.slot.is_some());
    let unclaimed = Unclaimed::new(bound_before, places);
    let mut binding = Binding { places, unclaimed, slots, purpose, listeners: Vec::new(), in_use: 0 };
    for Resolved { label, key, at } in places {
        match at {
            At::Addresses(addresses) => binding.addresses(label, key, addresses)?,
            At::Path(path) => binding.path(label, key, path)?,
            At::Inherited(sockets) => binding.inherited(label, key, sockets)?,
        }
    }
    // The steering program of the previous binary stays until a slot changes; and a rehearsal or check installs none.
    let install = !is_steered && !purpose.leaves_no_trace();
    let mut listeners = Listeners::new(binding.listeners, binding.unclaimed.rest, install);
    listeners.in_use = binding.in_use;
    Ok(listeners)
}

/// The listeners so far, and what is needed to make the others.
struct Binding<'a> {
    places: &'a [Resolved],
    unclaimed: Unclaimed,
    slots: Option<usize>,
    purpose: Purpose,
    listeners: Vec<Listener>,
    /// The number of places that a check found in use.
    in_use: usize,
}

impl Binding<'_> {
    fn addresses(&mut self, label: &Label, key: &str, addresses: &[SocketAddr]) -> Result<(), Error> {
        let only_ipv6 = |address| shares_its_port(label.kind, address, addresses, self.places);
        let (per_slot, no_trace) = (self.slots.is_some(), self.purpose.leaves_no_trace());
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for &address in addresses {
            let target = Target::Address(address, only_ipv6(address));
            match self.unclaimed.claim(label, &target, per_slot, no_trace)? {
                Some(listener) => found.push(listener),
                None => missing.push(address),
            }
        }
        let bound = inet::bind(label, &missing, &only_ipv6, self.slots, self.purpose)
            .map_err(|error| self.unclaimed.explain(label, error))?;
        for (address, sockets) in missing.iter().zip(bound) {
            match sockets {
                Some(sockets) => found.push(Listener::at(label, address, sockets)),
                None => self.in_use += 1,
            }
        }
        for listener in found {
            self.listeners.push(listener.storable(Some(Storable::inet(key))));
        }
        Ok(())
    }

    fn path(&mut self, label: &Label, key: &str, path: &UnixPath) -> Result<(), Error> {
        let target = Target::Path(&path.path);
        let listener = match self.unclaimed.claim(label, &target, false, self.purpose.leaves_no_trace())? {
            Some(listener) => {
                let stored = listener.stored.as_deref();
                let storable = stored.and_then(|name| Storable::unix_again(key, &path.path, name));
                unix::check(path)?;
                listener.rights(path.clone()).storable(storable)
            }
            None => {
                let Some(socket) = unix::bind(label, path, self.purpose)? else {
                    self.in_use += 1;
                    return Ok(());
                };
                let listener = Listener::at(label, &path.path, Sockets::One(socket));
                listener.storable(Storable::unix(key, &path.path))
            }
        };
        self.listeners.push(listener.unix(path.clone()));
        Ok(())
    }

    fn inherited(&mut self, label: &Label, key: &str, sockets: &[Inherited]) -> Result<(), Error> {
        if self.slots.is_some() && label.kind != Kind::Unix {
            logging::info("reuse_port: sockets that this program was started with are shared by all workers");
        }
        for one in sockets {
            let socket = one.socket.try_clone().map_err(Error::fcntl)?;
            let sockets = Sockets::taken_over(socket, one.is_in_use || self.purpose.leaves_no_trace())?;
            logging::info(&format!("listening on {}, inherited", Labelled(label, &one.place)));
            let listener = Listener::new(label.clone(), key.to_owned(), sockets);
            self.listeners.push(listener.inherited(one.name.clone(), one.number).in_use(one.is_in_use));
        }
        Ok(())
    }
}
