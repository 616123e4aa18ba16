//! What the supervisor and its workers tell each other through shared memory.
//!
//! *Rows* are the supervisor's, a header and one for each slot. *Seats* are the workers', a page for each process, and two
//! for each slot, where a replacement may overlap with the worker it replaces. Each has one writer, so nothing is ever
//! locked by a process that died.
//!
//! A worker that is not root can write to its own seat and to nothing else. The supervisor has the memory mapped twice, to
//! write and to read. A worker unmaps the writable mapping but for its own page, and the kernel never makes the other one
//! writable, because its file was opened to be read. Without /proc, or without a file for the memory (`ulimit -f`), there
//! is one mapping; a worker makes it read-only but for its own page, and seals that. Its own page is sealed, too, or it would
//! be a way to all others. Where the kernel cannot seal (before Linux 6.10), a worker that wants to can write to all of it.
//!
//! It must not know why a process reports anything. Nothing that a worker wrote is used as an index, a length or a process
//! id. The number of slots is fixed before the first fork: memory made later would not be shared.

mod board;
#[cfg(feature = "tokio")]
mod connections;
mod layout;
mod seat;
#[cfg(test)]
mod tests;

pub(crate) use board::{Board, Occupant, Publisher, Row, Slot, Snapshot, current, forget};
#[cfg(feature = "tokio")]
pub(crate) use connections::{Counted, own_and_others};
pub(crate) use layout::{SEATS, capacity, shape};
pub(crate) use seat::{heartbeat, own, prepare, ready, recycle, terminated};
