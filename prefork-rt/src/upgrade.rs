//! How the supervisor becomes another binary in place, and the way back: which file that is, its rehearsal, and the
//! state that it is handed.
//!
//! It must not know when an upgrade is wise: the policy decides that. No file in this folder imports from this one.

mod exec;
mod handoff;
mod launch;
mod next;
mod received;
mod rehearsal;
mod replaceable;
pub(crate) mod state;

pub(crate) use exec::{Previous, become_next, become_previous};
pub(crate) use handoff::Handoff;
pub(crate) use launch::Launch;
pub(crate) use next::{Next, next_binary};
pub(crate) use received::Received;
pub(crate) use rehearsal::Rehearsal;
pub(crate) use replaceable::{Workers, check as check_place};
pub(crate) use state::VARIABLE;
