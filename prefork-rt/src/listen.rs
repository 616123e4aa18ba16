//! The sockets of `listen`: the supervisor binds them before the first fork, inherits them, or takes them over from the
//! previous binary, and gives them to each worker.
//!
//! Two steps: [`plan`] says what is listened on, and [`bind`] does it. It must not know as which types a worker's body
//! gets the sockets. No file in this folder imports from this one.

mod announcement;
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
mod matching;
mod place;
mod plan;
mod repair;
mod resolve;
mod slots;
mod store;
mod store_name;
mod unclaimed;
mod unix;

pub(crate) use announcement::{Announced, Announcement};
pub(crate) use attempt::Purpose;
pub(crate) use bind::bind;
pub(crate) use bound_before::BoundBefore;
pub(crate) use given::{Wanted, check, remove_files, take};
pub(crate) use inherited::Inherited;
pub(crate) use label::Label;
pub(crate) use listener::HandoffSocket;
pub(crate) use listeners::Listeners;
pub(crate) use plan::plan;
pub(crate) use repair::{Moment, Repair};
pub(crate) use store::{Change, update_store};
pub(crate) use unix::{adopt_file, files};
