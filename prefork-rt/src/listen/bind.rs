//! Every place of a plan is bound, or served with a socket that was bound before this start.
//!
//! It must not know what is to be listened on.

#[cfg(test)]
mod tests;

use super::attempt::Purpose;
use super::bound_before::BoundBefore;
use super::label::Labelled;
use super::listener::Listener;
use super::listeners::Listeners;
use super::place::{At, Resolved, shares_its_port};
use super::slots::Sockets;
use super::store_name::Storable;
use super::unclaimed::{Target, Unclaimed};
use super::{inet, unix};
use crate::error::Error;
use crate::grammar::Kind;
use crate::logging;

/// Binds every address that was not handed over, or none. With a number of slots, each slot has a socket of its own at
/// each address that is not a path.
pub(crate) fn bind(
    places: &[Resolved],
    bound_before: Vec<BoundBefore>,
    slots: Option<usize>,
    purpose: Purpose,
) -> Result<Listeners, Error> {
    let mut in_use = 0;
    let is_steered = bound_before.iter().any(|one| one.slot.is_some());
    let mut unclaimed = Unclaimed::new(bound_before, places);
    let no_trace = purpose.leaves_no_trace();
    if slots.is_some() && places.iter().all(|place| place.label.kind == Kind::Unix) {
        logging::info("reuse_port has no effect: listen has no TCP or UDP address, and Unix sockets are shared");
    }
    let mut listeners = Vec::new();
    for Resolved { label, key, at } in places {
        match at {
            At::Addresses(addresses) => {
                let only_ipv6 = |address| shares_its_port(label.kind, address, addresses, places);
                let mut missing = Vec::new();
                let mut found = Vec::new();
                for address in addresses {
                    let place = Target::Address(*address, only_ipv6(*address));
                    match unclaimed.claim(label, &place, slots.is_some(), no_trace)? {
                        Some(listener) => found.push(listener),
                        None => missing.push(*address),
                    }
                }
                let bound = inet::bind(label, &missing, only_ipv6, slots, purpose)
                    .map_err(|error| unclaimed.explain(label, error))?;
                in_use += bound.iter().filter(|sockets| sockets.is_none()).count();
                let bound = missing.iter().zip(bound);
                found.extend(bound.filter_map(|(address, sockets)| Some(Listener::at(label, address, sockets?))));
                listeners.extend(found.into_iter().map(|listener| listener.storable(Some(Storable::inet(key)))));
            }
            At::Path(path) => {
                let (listener, storable) = match unclaimed.claim(label, &Target::Path(&path.path), false, no_trace)? {
                    Some(listener) => {
                        let storable =
                            listener.stored.as_deref().and_then(|name| Storable::unix_again(key, &path.path, name));
                        unix::check(path)?;
                        (listener.rights(path.clone()), storable)
                    }
                    None => {
                        let Some(socket) = unix::bind(label, path, purpose)? else {
                            in_use += 1;
                            continue;
                        };
                        (Listener::at(label, &path.path, Sockets::One(socket)), Storable::unix(key, &path.path))
                    }
                };
                listeners.push(listener.storable(storable).unix(path.clone()));
            }
            At::Inherited(sockets) => {
                if slots.is_some() && label.kind != Kind::Unix {
                    logging::info("reuse_port: sockets that this program was started with are shared by all workers");
                }
                for one in sockets {
                    let socket = one.socket.try_clone().map_err(Error::fcntl)?;
                    let sockets = Sockets::taken_over(socket, one.is_in_use || no_trace)?;
                    logging::info(&format!("listening on {}, inherited", Labelled(label, &one.place)));
                    let listener = Listener::new(label.clone(), key.clone(), sockets);
                    listeners.push(listener.inherited(one.name.clone(), one.number).in_use(one.is_in_use));
                }
            }
        }
    }
    // What the binary before has told the kernel holds until there is news; and a rehearsal or check tells it nothing.
    let mut listeners = Listeners::new(listeners, unclaimed.rest, !is_steered && !no_trace);
    listeners.in_use = in_use;
    Ok(listeners)
}
