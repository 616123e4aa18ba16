//! How many connections this worker has open, in its own seat, and how many others have.
//!
//! It must not know what is decided by these numbers.

use std::sync::atomic::Ordering;

use super::board::current;
use super::layout::LISTENERS;
use super::seat::own_seat;

/// One of what a worker counts in its seat, for as long as this value lives.
///
/// In a process that is no worker, or that the worker forked, it counts nothing.
#[derive(Debug)]
pub(crate) struct Counted {
    one: u64,
}

impl Counted {
    /// A connection that is open.
    pub(crate) fn connection() -> Counted {
        Counted::one(1)
    }

    /// A listener that gives this worker its share of new connections.
    pub(crate) fn listener() -> Counted {
        Counted::one(1 << LISTENERS)
    }

    fn one(one: u64) -> Counted {
        if let Some(own) = own_seat() {
            own.seat.connections.fetch_add(one, Ordering::Relaxed);
        }
        Counted { one }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(own) = own_seat() {
            own.seat.connections.fetch_sub(self.one, Ordering::Relaxed);
        }
    }
}

/// How many other slots are looked at: it bounds what an accept costs in a pool of a thousand workers.
const MOST: usize = 64;

/// How many connections this worker has open, and how many others have. Of the others only those that are ready and share
/// new connections, in at most 64 slots. `None` outside a pool.
pub(crate) fn own_and_others() -> Option<(u32, impl Iterator<Item = u32>)> {
    let own = own_seat()?;
    let others = current()?.connections_of_others(own.task_id as usize, MOST);
    Some((own.seat.connections.load(Ordering::Relaxed) as u32, others))
}
