//! What the supervisor and its workers tell each other through shared memory.
//!
//! *Rows* are the supervisor's, a header and one for each slot; a worker can only read them. *Seats* are the workers',
//! a page for each process, and two for each slot, where a replacement may overlap with the worker it replaces; a
//! worker can write to its own and to nothing else. Each has one writer, so nothing is ever locked by a process that
//! died.
//!
//! It must not know why anybody says anything. Nothing that a worker wrote is used as an index, a length or a process
//! id. The number of slots is fixed before the first fork: memory made later would not be shared.

mod board;
mod layout;
mod seat;
#[cfg(test)]
mod tests;

pub(crate) use board::{Board, Occupant, Row, Said, Slot, Snapshot, current, forget};
pub use layout::State;
pub(crate) use layout::{SEATS, capacity, shape};
pub(crate) use seat::{heartbeat, own, prepare, ready, recycle, terminated};
