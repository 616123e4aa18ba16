//! A worker's side: its seat, to which it alone writes.
//!
//! It must not know why a worker reports anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::board::Occupant;
use super::layout::*;
use crate::logging;
use crate::sys;
use crate::zeroed_option::ZeroedOption;

/// The words of a seat.
#[derive(Clone, Copy)]
pub(super) struct Seat {
    pub(super) reported: &'static AtomicU64,
    pub(super) heartbeat: &'static AtomicU64,
    pub(super) terminated: &'static AtomicU64,
    pub(super) connections: &'static AtomicU64,
}

impl Seat {
    pub(super) fn of(words: &'static [AtomicU64]) -> Seat {
        Seat {
            reported: &words[REPORTED],
            heartbeat: &words[HEARTBEAT],
            terminated: &words[TERMINATED_AT],
            connections: &words[CONNECTIONS],
        }
    }
}

/// The seat of this worker.
#[derive(Clone, Copy)]
struct Place {
    seat: Seat,
    task_id: usize,
    process: Occupant,
}

/// Not a `OnceLock`, whose code would be one page more for each new worker to enter.
static PLACE: Mutex<ZeroedOption<Place>> = Mutex::new(ZeroedOption::None);

#[inline]
fn lock_place() -> MutexGuard<'static, ZeroedOption<Place>> {
    PLACE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes which seat this worker has.
#[inline]
pub(super) fn sit(seat: Seat, task_id: usize, process: Occupant) {
    *lock_place() = ZeroedOption::Some(Place { seat, task_id, process });
}

/// The task id and the process of this worker, if it is one, for [`status`](crate::status::status).
pub(crate) fn own() -> Option<(usize, Occupant)> {
    lock_place().as_ref().map(|place| (place.task_id, place.process))
}

/// The seat of this worker, once it has reported something; `None` inside when it cannot be written to.
pub(super) static OWN_SEAT: OnceLock<Option<OwnSeat>> = OnceLock::new();

/// Reports that this worker is ready.
pub(crate) fn ready() {
    if let Some(seat) = own_seat() {
        seat.report(READY);
    }
}

/// Reports that this worker is alive.
#[inline]
pub(crate) fn heartbeat() {
    if let Some(seat) = own_seat() {
        seat.heartbeat();
    }
}

/// Reports that this worker wants to be replaced.
pub(crate) fn recycle() {
    if let Some(seat) = own_seat() {
        seat.report(RECYCLE);
    }
}

/// Makes [`terminated`] possible. Call it before the handler is installed that calls `terminated`.
pub(crate) fn prepare() {
    own_seat();
}

/// Reports that this worker was told to end. Async-signal-safe: atomics, getpid(2) and clock_gettime(2).
pub(crate) fn terminated() {
    if let Some(Some(seat)) = OWN_SEAT.get() {
        seat.terminated();
    }
}

#[inline]
pub(super) fn own_seat() -> Option<&'static OwnSeat> {
    match OWN_SEAT.get() {
        Some(seat) => seat.as_ref().filter(|_| !sys::is_forked()),
        None => take_own_seat(),
    }
}

/// Takes the seat at its first use, so that a worker that reports nothing does not pay for it. A process that the worker
/// forks is not the worker, and reports nothing.
#[cold]
fn take_own_seat() -> Option<&'static OwnSeat> {
    let place = lock_place().as_ref().copied().filter(|place| place.process.pid == sys::getpid().as_raw())?;
    let take = || match sys::notice_forks() {
        Ok(()) => Some(OwnSeat::take(place.seat, place.task_id, place.process)),
        Err(error) => {
            logging::warn(&format!(
                "worker {} (pid {}) cannot write to the scoreboard: {error}; its calls of ready(), heartbeat() and \
                 recycle() do nothing",
                place.task_id, place.process.pid
            ));
            None
        }
    };
    OWN_SEAT.get_or_init(take).as_ref()
}

pub(super) struct OwnSeat {
    pub(super) seat: Seat,
    pub(super) task_id: u32,
    pid: i32,
}

impl OwnSeat {
    pub(super) fn take(seat: Seat, task_id: usize, process: Occupant) -> OwnSeat {
        // In this order, a reader that sees the new tag sees no value of a predecessor.
        store(seat.heartbeat, 0);
        store(seat.terminated, 0);
        store(seat.connections, 0);
        seat.reported.store(tag(process.fork), Ordering::Release);
        OwnSeat { seat, task_id: u32::try_from(task_id).unwrap_or(u32::MAX), pid: process.pid }
    }

    pub(super) fn report(&self, flag: u64) {
        let before = self.seat.reported.fetch_or(flag, Ordering::Release);
        if before & flag == 0 {
            sys::wake(self.task_id);
        }
    }

    /// Several threads may call this at once: a lost count does not matter, and the times are equal.
    #[inline]
    pub(super) fn heartbeat(&self) {
        let before = load(self.seat.heartbeat);
        store(self.seat.heartbeat, next_heartbeat(before, sys::milliseconds()));
        if before == 0 {
            self.first_heartbeat();
        }
    }

    #[cold]
    fn first_heartbeat(&self) {
        self.report(HAS_HEARTBEAT);
    }

    /// A process that this worker forked has this handler too, and is not the worker.
    pub(super) fn terminated(&self) {
        if sys::getpid().as_raw() == self.pid {
            store(self.seat.terminated, sys::milliseconds().into());
            self.seat.reported.fetch_or(TERMINATED, Ordering::Release);
        }
    }
}
