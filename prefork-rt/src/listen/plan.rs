//! What is listened on: the entries of `listen`, or what this process was started with in their place.
//!
//! It must not know how anything is bound.

use super::bound_before::BoundBefore;
use super::inherited::{self, Inherited};
use super::label::Label;
use super::place::{At, Resolved, labels};
use super::resolve::resolve;
use super::store;
use super::store_name::is_ours;
use crate::error::Error;
use crate::grammar::Entry;

/// What is to be listened on.
pub(crate) struct Plan {
    pub(crate) places: Vec<Resolved>,
    /// What this process was started with, where that decides what is listened on.
    came: Option<String>,
    /// What comes back from a service manager's store, and under which names there is more of ours, of no use any more.
    pub(crate) restored: Vec<BoundBefore>,
    pub(crate) obsolete: Vec<String>,
}

/// Gives each entry the sockets that were inherited for it, or looks up its host name. Stored sockets are only ours, and
/// of no use when others come.
pub(crate) fn plan(entries: Vec<Entry>, inherited: Vec<Inherited>, per_slot: bool) -> Result<Plan, Error> {
    let (stored, started_with): (Vec<_>, Vec<_>) = inherited.into_iter().partition(|one| is_ours(&one.name));
    if started_with.is_empty() {
        let places = resolve(entries)?;
        let (restored, obsolete) = store::restore(&places, stored, per_slot);
        let why = |stored: &Inherited| store::why_obsolete(stored, &places, per_slot);
        let obsolete = store::close(obsolete, &restored, why);
        return Ok(Plan { places, came: None, restored, obsolete });
    }
    let came = Some(inherited::list(&started_with));
    let matched = inherited::match_entries(&entries, started_with)?;
    let place = |(label, sockets)| Resolved { label, key: String::new(), at: At::Inherited(sockets) };
    let places: Vec<Resolved> = matched.into_iter().map(place).collect();
    let obsolete = store::close(stored, &[], |_| "the sockets that this program was started with take its place");
    Ok(Plan { places, came, restored: Vec::new(), obsolete })
}

impl Plan {
    /// One for each socket.
    pub(crate) fn labels(&self) -> Vec<Label> {
        labels(&self.places)
    }

    /// What is asked for is not there: what is.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match (error, &self.came) {
            (Error::Argument { reason }, Some(came)) => Error::Argument {
                reason: format!(
                    "{reason}; in the place of listen came what this program was started with, {came}: change the .socket \
                     unit, or what main asks for"
                ),
            },
            (error, _) => error,
        }
    }
}
