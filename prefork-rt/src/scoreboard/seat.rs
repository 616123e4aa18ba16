//! A worker's side: its seat, to which it alone writes.
//!
//! It must not know why a worker says anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::board::Occupant;
use super::layout::*;
use crate::logging;
use crate::sys;

/// The words of a seat.
#[derive(Clone, Copy)]
pub(super) struct Seat {
    pub(super) said: &'static AtomicU64,
    pub(super) beat: &'static AtomicU64,
    pub(super) terminated: &'static AtomicU64,
}

impl Seat {
    pub(super) fn of(words: &'static [AtomicU64]) -> Seat {
        Seat { said: &words[SAID], beat: &words[BEAT], terminated: &words[TERMINATED_AT] }
    }
}

/// Where this worker sits.
#[derive(Clone, Copy)]
struct Place {
    seat: Seat,
    task_id: usize,
    process: Occupant,
}

/// Not a `OnceLock`, whose code would be one page more for each new worker to enter.
static PLACE: Mutex<Option<Place>> = Mutex::new(None);

#[inline]
fn lock_place() -> MutexGuard<'static, Option<Place>> {
    PLACE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which seat this worker has.
#[inline]
pub(super) fn sit(seat: Seat, task_id: usize, process: Occupant) {
    *lock_place() = Some(Place { seat, task_id, process });
}

/// The task id and the process of this worker, if it is one, for [`status`](crate::status::status).
pub(crate) fn own() -> Option<(usize, Occupant)> {
    (*lock_place()).map(|place| (place.task_id, place.process))
}

/// The seat of this worker, once it has said something; `None` inside when it cannot.
pub(super) static OWN_SEAT: OnceLock<Option<OwnSeat>> = OnceLock::new();

/// Says that this worker is ready.
pub(crate) fn ready() {
    if let Some(seat) = own_seat() {
        seat.say(READY);
    }
}

/// Says that this worker is alive.
#[inline]
pub(crate) fn heartbeat() {
    if let Some(seat) = own_seat() {
        seat.beat();
    }
}

/// Says that this worker wants to be replaced.
pub(crate) fn recycle() {
    if let Some(seat) = own_seat() {
        seat.say(RECYCLE);
    }
}

/// Makes [`terminated`] possible: before the handler that calls it is installed.
pub(crate) fn prepare() {
    own_seat();
}

/// Says that this worker was told to end. Async-signal-safe: atomics, getpid(2) and clock_gettime(2).
pub(crate) fn terminated() {
    if let Some(Some(seat)) = OWN_SEAT.get() {
        seat.terminated();
    }
}

#[inline]
fn own_seat() -> Option<&'static OwnSeat> {
    match OWN_SEAT.get() {
        Some(seat) => seat.as_ref().filter(|_| !sys::is_forked()),
        None => take_own_seat(),
    }
}

/// Only when it is used: a worker that says nothing does not pay for it. A process that it forks is not the worker, and
/// says nothing.
#[cold]
fn take_own_seat() -> Option<&'static OwnSeat> {
    let place = (*lock_place()).filter(|place| place.process.pid == sys::getpid().as_raw())?;
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
    task_id: u32,
    pid: i32,
}

impl OwnSeat {
    pub(super) fn take(seat: Seat, task_id: usize, process: Occupant) -> OwnSeat {
        // A reader that sees the new tag sees nothing of a predecessor.
        store(seat.beat, 0);
        store(seat.terminated, 0);
        seat.said.store(tag(process.fork), Ordering::Release);
        OwnSeat { seat, task_id: u32::try_from(task_id).unwrap_or(u32::MAX), pid: process.pid }
    }

    pub(super) fn say(&self, flag: u64) {
        let before = self.seat.said.fetch_or(flag, Ordering::Release);
        if before & flag == 0 {
            sys::ring(self.task_id);
        }
    }

    /// Several threads may: a count that is lost does not matter, and the times are the same.
    #[inline]
    pub(super) fn beat(&self) {
        let before = load(self.seat.beat);
        store(self.seat.beat, next_beat(before, sys::milliseconds()));
        if before == 0 {
            self.begin_beating();
        }
    }

    #[cold]
    fn begin_beating(&self) {
        self.say(BEATING);
    }

    /// A process that this worker forked has the same handler, and is not the worker.
    pub(super) fn terminated(&self) {
        if sys::getpid().as_raw() == self.pid {
            store(self.seat.terminated, sys::milliseconds().into());
            self.seat.said.fetch_or(TERMINATED, Ordering::Release);
        }
    }
}
