//! The sockets of `listen`: bound by the supervisor before the first fork, inherited, or taken over from the binary
//! before, and handed over to each worker.
//!
//! It must not know the types that they come as in a worker.

mod as_bound;
mod attempt;
mod bind;
mod bound_before;
mod given;
mod held;
mod inet;
mod inherited;
mod label;
mod listener;
mod listeners;
mod place;
mod plan;
mod repair;
mod resolve;
mod slots;
mod store;
mod store_name;
mod unclaimed;
mod unix;

pub(crate) use attempt::Purpose;
pub(crate) use bind::bind;
pub(crate) use bound_before::BoundBefore;
pub(crate) use given::{Wanted, check, give, remove_files, take};
pub(crate) use inherited::{VARIABLES, copies, distrusted, let_go, receive, receive_again};
pub(crate) use label::Label;
pub(crate) use listener::Handoff;
pub(crate) use listeners::Listeners;
pub(crate) use plan::plan;
pub(crate) use repair::Moment;
pub(crate) use store::{Change, update_store};
pub(crate) use unix::{adopt_files, files};
