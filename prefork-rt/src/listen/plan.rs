//! What the pool listens on: the entries of `listen`, or the sockets that this process was started with in their place.
//!
//! It must not know how anything is bound.

use super::bound_before::BoundBefore;
use super::inherited::Inherited;
use super::label::Label;
use super::matching::{list, match_entries};
use super::place::{At, Resolved, labels};
use super::resolve::resolve;
use super::store;
use super::store_name::is_ours;
use crate::error::Error;
use crate::grammar::Entry;

/// What the pool listens on.
pub(crate) struct Plan {
    pub(crate) places: Vec<Resolved>,
    /// The sockets that this process was started with, in words, where they take the place of `listen`.
    came: Option<String>,
    /// The sockets that a service manager's store has given back.
    pub(crate) restored: Vec<BoundBefore>,
    /// The names in the store whose sockets are of no use any more. The inheritance must close them.
    pub(crate) obsolete: Vec<String>,
}

/// Gives each entry the sockets that were inherited for it, or looks up its host name.
///
/// Sockets that prefork itself stored do not count as inherited: they take the place of binding an entry, and are of no
/// use when this process was started with other sockets.
pub(crate) fn plan(entries: Vec<Entry>, inherited: Vec<Inherited>, per_slot: bool) -> Result<Plan, Error> {
    let (mut stored, mut started_with) = (Vec::new(), Vec::new());
    for one in inherited {
        if is_ours(&one.name) { stored.push(one) } else { started_with.push(one) }
    }
    if started_with.is_empty() {
        let places = resolve(entries)?;
        let (restored, obsolete) = store::restore(&places, stored, per_slot);
        let why = |stored: &Inherited| store::why_obsolete(stored, &places, per_slot);
        let obsolete = store::close(obsolete, &restored, &why);
        return Ok(Plan { places, came: None, restored, obsolete });
    }
    let came = Some(list(&started_with));
    let matched = match_entries(&entries, started_with)?;
    let mut places = Vec::new();
    for (label, sockets) in matched {
        places.push(Resolved { label, key: String::new(), at: At::Inherited(sockets) });
    }
    let obsolete = store::close(stored, &[], &|_| "the sockets that this program was started with take its place");
    Ok(Plan { places, came, restored: Vec::new(), obsolete })
}

impl Plan {
    /// One for each socket.
    pub(crate) fn labels(&self) -> Vec<Label> {
        labels(&self.places)
    }

    /// Adds to an error about a missing listener which sockets came in the place of `listen`.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match (error, &self.came) {
            (Error::Argument { reason }, Some(came)) => Error::Argument {
                reason: format!(
                    "{reason}; the sockets that this program was started with take the place of listen: {came}; change the \
                     .socket unit, or what main asks for"
                ),
            },
            (error, _) => error,
        }
    }
}
