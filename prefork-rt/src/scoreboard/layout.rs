//! Where each word lies in the shared memory, and what it means.
//!
//! It must not know which process writes a word, nor how a page becomes writable.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::policy::State;
use crate::sys;

/// The state that this word of a row stands for. A torn row may hold a word that stands for none.
pub(super) fn state_of(word: u64) -> State {
    State::ALL.into_iter().find(|&state| state as u64 == word).unwrap_or(State::Starting)
}

/// How many slots a pool of `workers` workers has: room to add some while it runs.
pub(crate) fn capacity(workers: usize) -> usize {
    workers.saturating_mul(2).max(workers.saturating_add(64))
}

/// Sizes and places, in words. The rows and each seat begin at a page, and a seat is one page.
pub(super) struct Layout {
    pub(super) seats_start: usize,
    pub(super) seat_words: usize,
    pub(super) words: usize,
}

impl Layout {
    pub(super) fn of(capacity: usize) -> io::Result<Layout> {
        let seat_words = sys::words_per_page()?;
        let sizes = || {
            let rows = capacity.checked_add(1)?.checked_mul(ROW_WORDS)?;
            let seats_start = rows.checked_next_multiple_of(seat_words)?;
            let words = seats_start.checked_add(capacity.checked_mul(SEATS * seat_words)?)?;
            words.checked_mul(size_of::<AtomicU64>())?;
            Some(Layout { seats_start, seat_words, words })
        };
        sizes().ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, format!("{capacity} slots are too many")))
    }

    pub(super) fn bytes(&self) -> usize {
        self.words * size_of::<AtomicU64>()
    }
}

pub(super) const ROW_WORDS: usize = 8;
pub(crate) const SEATS: usize = 2;

/// Numbers the names: `$first` is the first number, and `$next` makes each number from the one before. [`shape`] has the
/// names.
macro_rules! numbered {
    ($names:ident: $ty:ty = $first:literal, then $next:tt { $($(#[$doc:meta])* $name:ident),* $(,)? }) => {
        pub(super) const $names: &[&str] = &[$(stringify!($name)),*];
        numbered!(@ $ty, $next, $first, $($(#[$doc])* $name,)*);
    };
    (@ $ty:ty, $next:tt, $number:expr,) => {};
    (@ $ty:ty, [$($next:tt)*], $number:expr, $(#[$doc:meta])* $name:ident, $($rest:tt)*) => {
        $(#[$doc])*
        pub(super) const $name: $ty = $number;
        numbered!(@ $ty, [$($next)*], $name $($next)*, $($rest)*);
    };
}

#[cfg(test)]
pub(super) use numbered;

// The words of the header.
numbered!(HEADER: usize = 0, then [+ 1] {
    /// Odd while the supervisor writes.
    GENERATION,
    SUPERVISOR,
    WORKERS,
    BUDGET_USED,
    /// How many rows, from the first, may have been published.
    PUBLISHED,
});

// The words of a row.
numbered!(ROW: usize = 0, then [+ 1] {
    STATE,
    RESTARTS,
    /// 0: no process.
    PID,
    /// The number of the last fork, plus one; 0 before the first.
    FORKS,
    SEAT,
    STARTED,
});

// The words of a seat.
numbered!(SEAT_WORDS: usize = 0, then [+ 1] { REPORTED, HEARTBEAT, TERMINATED_AT, CONNECTIONS });

/// The layout as text. An upgrade compares it with that of the other binary, whose workers go on using the memory.
pub(crate) fn shape() -> String {
    // Without the size of a page no pool is made, so the number does not matter then.
    let start = Layout::of(1).map_or(0, |layout| layout.seats_start);
    let mut states = Vec::new();
    for state in State::ALL {
        states.push(format!("{state}={}", state as u64));
    }
    format!(
        "header{{{}}}row{{{}}}of {ROW_WORDS} words,{SEATS} seats from word {start}:seat{{{}}}flags{{{}}}in {} bits,time of \
         a heartbeat from bit {HEARTBEAT_TIME},balanced listeners from bit {LISTENERS};states{{{}}}",
        HEADER.join(","),
        ROW.join(","),
        SEAT_WORDS.join(","),
        FLAG_NAMES.join(","),
        FLAGS.count_ones(),
        states.join(",")
    )
}

pub(super) fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

pub(super) fn store(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Relaxed);
}

// What a worker has reported, in the lowest bits of the word REPORTED; the other bits are the tag of its process.
numbered!(FLAG_NAMES: u64 = 1, then [<< 1] { READY, RECYCLE, HAS_HEARTBEAT, TERMINATED });
pub(super) const FLAGS: u64 = 0xff;

pub(super) fn tag(fork: u64) -> u64 {
    fork << FLAGS.count_ones()
}

/// A heartbeat has its time from this bit on, and the count below.
pub(super) const HEARTBEAT_TIME: u32 = 32;

/// The next value of the word HEARTBEAT: when it was, and how many there were.
pub(super) fn next_heartbeat(before: u64, now: u32) -> u64 {
    u64::from(now) << HEARTBEAT_TIME | u64::from(heartbeat_count(before).wrapping_add(1))
}

pub(super) fn heartbeat_time(heartbeat: u64) -> u32 {
    (heartbeat >> HEARTBEAT_TIME) as u32
}

pub(super) fn heartbeat_count(heartbeat: u64) -> u32 {
    heartbeat as u32
}

/// The word CONNECTIONS counts balanced listeners from this bit on, and open connections below.
pub(super) const LISTENERS: u32 = 32;

/// How many connections a worker has open, or `None` where it has neither a balanced listener nor a connection.
pub(super) fn connections(counts: u64) -> Option<u32> {
    (counts != 0).then_some(counts as u32)
}

/// Whether a worker wants its share of new connections.
#[cfg(feature = "tokio")]
pub(super) fn is_balanced(counts: u64) -> bool {
    counts >> LISTENERS != 0
}

/// How long ago the clock showed these milliseconds.
pub(super) fn age(milliseconds: u32) -> Duration {
    age_at(sys::milliseconds(), milliseconds)
}

pub(super) fn age_at(now: u32, milliseconds: u32) -> Duration {
    /// A time that seems almost 49 days old was stored after the clock was read.
    const FUTURE: u32 = u32::MAX - 60_000;
    match now.wrapping_sub(milliseconds) {
        FUTURE.. => Duration::ZERO,
        age => Duration::from_millis(age.into()),
    }
}
