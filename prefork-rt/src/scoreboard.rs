//! What the supervisor and its workers tell each other through shared memory, and what [`status`] makes of it.
//!
//! *Rows* are the supervisor's, a header and one for each slot; a worker can only read them. *Seats* are the workers',
//! a page for each process, and two for each slot, where a replacement may overlap with the worker it replaces; a
//! worker can write to its own and to nothing else. Each has one writer, so nothing is ever locked by a process that
//! died.
//!
//! It must not know why anybody says anything. Nothing that a worker wrote is used as an index, a length or a process
//! id. The number of slots is fixed before the first fork: memory made later would not be shared.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::report;
use crate::sys::{self, SharedWords};
use crate::worker::{Worker, worker};

/// The whole pool as it is now: for a `/status` handler in any worker, which can answer for all.
///
/// `None` where nothing was started, in this process or the one that forked it; `Some` in the supervisor and in every
/// worker, and under `PREFORK=off`, where the pool is this process. The supervisor never waits for whoever asks.
///
/// What the supervisor knows (everything but the beats) is a consistent snapshot: a reading that the supervisor wrote
/// into is thrown away and taken again. Only if the supervisor was stopped in the middle of writing (by a debugger,
/// say) is it returned as it is, after half a second.
///
/// ```
/// if let Some(status) = prefork_rt::status() {
///     println!("{} restarts in {:?}", status.restarts, status.started.elapsed());
///     for worker in &status.workers {
///         println!("worker {} is {}, pid {:?}", worker.task_id, worker.state, worker.pid);
///     }
/// }
/// ```
pub fn status() -> Option<Status> {
    let board = *lock_board();
    let place = *lock_place();
    board.map(|board| board.status(place.as_ref()))
}

/// What [`status`] returns: the supervisor and its workers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The process id of the supervisor.
    pub supervisor: i32,
    /// When it started.
    pub started: Instant,
    /// How many restarts of `max_restarts` are used.
    pub restarts: usize,
    /// One for each task id, in their order; those that are being removed stay until their process has ended.
    pub workers: Vec<WorkerStatus>,
}

/// The worker of one task id.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its task id.
    pub task_id: usize,
    /// What it is doing.
    pub state: State,
    /// Its process id; `None` while it has no process.
    pub pid: Option<i32>,
    /// When that process was started.
    pub started: Option<Instant>,
    /// How many times the task id was started before.
    pub restarts: usize,
    /// The last [`heartbeat`](Worker::heartbeat) of that process, to about 10 ms. One that is 49 days old looks new.
    pub last_beat: Option<Instant>,
    /// How many heartbeats that process has made. It begins again at 0 after 2^32 of them, and misses some of those
    /// that several threads make at once.
    pub beats: u32,
}

/// What a worker is doing. Displayed as the name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It was started, or is about to be, and is not ready.
    Starting,
    /// It does its work.
    Ready,
    /// It was told to end.
    Stopping,
    /// It ended, and is started again when its backoff is over.
    Waiting,
    /// It has ended and is not started again.
    Finished,
}

impl State {
    const ALL: [State; 5] = [State::Starting, State::Ready, State::Stopping, State::Waiting, State::Finished];

    fn from_word(word: u64) -> State {
        State::ALL.into_iter().find(|&state| state as u64 == word).unwrap_or(State::Starting)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Starting => "starting",
            State::Ready => "ready",
            State::Stopping => "stopping",
            State::Waiting => "waiting",
            State::Finished => "finished",
        })
    }
}

/// A slot as the supervisor publishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) proc: Option<Occupant>,
    pub(crate) restarts: usize,
}

/// The process of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupant {
    pub(crate) pid: i32,
    /// Which fork for the slot it was.
    pub(crate) fork: u64,
    /// 0 or 1.
    pub(crate) seat: usize,
    /// Since [`Board::new`].
    pub(crate) started: Duration,
}

/// What a worker has said, and how long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) ready: bool,
    pub(crate) recycle: bool,
    /// It was last told to end, by anybody.
    pub(crate) terminated: Option<Duration>,
    /// It last beat.
    pub(crate) beat: Option<Duration>,
}

/// How many slots a pool of so many workers has: room to add some while it runs.
pub(crate) fn capacity(workers: usize) -> usize {
    workers.saturating_mul(2).max(workers.saturating_add(64))
}

/// A handle of the shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Board {
    rows: SharedWords,
    seats: SharedWords,
    seat_words: usize,
    capacity: usize,
    origin: Instant,
}

/// That of this process and of those forked from it, for [`status`].
static BOARD: Mutex<Option<Board>> = Mutex::new(None);

fn lock_board() -> MutexGuard<'static, Option<Board>> {
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing was started after all.
pub(crate) fn forget() {
    *lock_board() = None;
}

/// In words. Both parts begin with a page.
struct Layout {
    rows: usize,
    seats_start: usize,
    seats: usize,
    seat_words: usize,
    bytes: usize,
}

impl Layout {
    fn of(capacity: usize) -> io::Result<Layout> {
        let seat_words = sys::words_per_page()?;
        let sizes = || {
            let rows = capacity.checked_add(1)?.checked_mul(ROW_WORDS)?;
            let seats_start = rows.checked_next_multiple_of(seat_words)?;
            let seats = capacity.checked_mul(SEATS * seat_words)?;
            let bytes = seats_start.checked_add(seats)?.checked_mul(size_of::<AtomicU64>())?;
            Some(Layout { rows, seats_start, seats, seat_words, bytes })
        };
        sizes().ok_or_else(|| io::Error::new(io::ErrorKind::OutOfMemory, format!("{capacity} slots are too many")))
    }
}

const ROW_WORDS: usize = 8;
pub(crate) const SEATS: usize = 2;

/// Gives names their numbers: the first is this, and each of the others this of the one before. [`shape`] has the names.
macro_rules! numbered {
    ($names:ident: $ty:ty = $first:literal, then $next:tt { $($(#[$doc:meta])* $name:ident),* $(,)? }) => {
        const $names: &[&str] = &[$(stringify!($name)),*];
        numbered!(@ $ty, $next, $first, $($(#[$doc])* $name,)*);
    };
    (@ $ty:ty, $next:tt, $number:expr,) => {};
    (@ $ty:ty, [$($next:tt)*], $number:expr, $(#[$doc:meta])* $name:ident, $($rest:tt)*) => {
        $(#[$doc])*
        const $name: $ty = $number;
        numbered!(@ $ty, [$($next)*], $name $($next)*, $($rest)*);
    };
}

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
    /// That of the last process, plus one; 0: none yet.
    FORKS,
    SEAT,
    STARTED,
});

// The words of a seat.
numbered!(SEAT_WORDS: usize = 0, then [+ 1] { SAID, BEAT, TERMINATED_AT });

/// What the memory is like, to be compared with that of another binary, whose workers go on using it.
pub(crate) fn shape() -> String {
    // Where the system does not tell how large a page is, no pool is made.
    let start = Layout::of(1).map_or(0, |layout| layout.seats_start);
    let states: Vec<String> = State::ALL.iter().map(|&state| format!("{state}={}", state as u64)).collect();
    format!(
        "header{{{}}}row{{{}}}of {ROW_WORDS} words,{SEATS} seats from word {start}:seat{{{}}}flags{{{}}}in {} bits,time of \
         a beat from bit {BEAT_TIME};states{{{}}}",
        HEADER.join(","),
        ROW.join(","),
        SEAT_WORDS.join(","),
        FLAG_NAMES.join(","),
        FLAGS.count_ones(),
        states.join(",")
    )
}

/// How often a reader tries to get between two writes before it looks at the clock, too.
const TRIES: usize = 64;
/// A supervisor that was stopped or starved in the middle of a write is not waited for any longer.
const PATIENCE: Duration = Duration::from_millis(500);

impl Board {
    /// Before the first fork, in the process that is to be the supervisor. The memory is that of a file, for the next
    /// binary, where there can be such a file.
    pub(crate) fn new(workers: usize) -> io::Result<(Board, Option<File>)> {
        let capacity = capacity(workers);
        let layout = Layout::of(capacity)?;
        let file = sys::memory_file("prefork-scoreboard", layout.bytes).ok();
        let map = |start, words| match &file {
            Some(file) => SharedWords::map_file(file.as_fd(), start, words),
            None => SharedWords::map(words),
        };
        let board = Board::of(&layout, map, capacity, Instant::now())?;
        store(&board.header()[SUPERVISOR], sys::getpid().as_raw() as u64);
        store(&board.header()[WORKERS], workers as u64);
        board.keep();
        Ok((board, file))
    }

    /// That of a pool whose supervisor this process has been as another binary; of so many slots, made at that time.
    pub(crate) fn adopt(file: BorrowedFd<'_>, capacity: usize, origin: Instant) -> io::Result<Board> {
        let map = |start, words| SharedWords::map_file(file, start, words);
        let board = Board::of(&Layout::of(capacity)?, map, capacity, origin)?;
        // The binary before may have been replaced in the middle of nothing, but whoever reads must not wait for it.
        let generation = &board.header()[GENERATION];
        store(generation, load(generation).next_multiple_of(2));
        board.keep();
        Ok(board)
    }

    fn of(
        layout: &Layout,
        map: impl Fn(usize, usize) -> io::Result<SharedWords>,
        capacity: usize,
        origin: Instant,
    ) -> io::Result<Board> {
        let (rows, seats) = (map(0, layout.rows)?, map(layout.seats_start, layout.seats)?);
        seats.make_read_only()?;
        Ok(Board { rows, seats, seat_words: layout.seat_words, capacity, origin })
    }

    fn keep(&self) {
        *lock_board() = Some(*self);
    }

    /// How many slots there can be.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// When it was made.
    pub(crate) fn origin(&self) -> Instant {
        self.origin
    }

    /// `PREFORK=off`: this process is the pool.
    pub(crate) fn alone() -> io::Result<()> {
        let (board, _) = Board::new(1)?;
        let process = Occupant { pid: sys::getpid().as_raw(), fork: 0, seat: 0, started: Duration::ZERO };
        board.publish(0, Row { state: State::Ready, proc: Some(process), restarts: 0 });
        board.sit(0, process)
    }

    /// The time since it was made.
    pub(crate) fn age(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Puts a slot's row. In the supervisor.
    pub(crate) fn publish(&self, task_id: usize, row: Row) {
        let words = self.row(task_id);
        self.write(|| {
            store(&words[STATE], row.state as u64);
            store(&words[RESTARTS], row.restarts as u64);
            store(&words[PID], row.proc.map_or(0, |proc| proc.pid as u64));
            if let Some(proc) = row.proc {
                store(&words[FORKS], proc.fork + 1);
                store(&words[SEAT], proc.seat as u64);
                store(&words[STARTED], proc.started.as_nanos() as u64);
            }
            let published = &self.header()[PUBLISHED];
            store(published, load(published).max(task_id as u64 + 1));
        });
    }

    /// Puts how many workers are wanted and how many restarts are used. In the supervisor.
    pub(crate) fn set_totals(&self, workers: usize, budget_used: usize) {
        self.write(|| {
            store(&self.header()[WORKERS], workers as u64);
            store(&self.header()[BUDGET_USED], budget_used as u64);
        });
    }

    /// What the worker that was forked as this one has said in that seat. In the supervisor.
    pub(crate) fn hear(&self, task_id: usize, seat: usize, fork: u64) -> Said {
        let Some((flags, seat)) = self.flags(task_id, seat, fork) else { return Said::default() };
        let said = |flag| flags & flag != 0;
        Said {
            ready: said(READY),
            recycle: said(RECYCLE),
            terminated: said(TERMINATED).then(|| age(load(seat.terminated) as u32)),
            beat: said(BEATING).then(|| age(beat_time(load(seat.beat)))),
        }
    }

    /// Gives this process its seat. In a worker, right after the fork.
    #[inline]
    pub(crate) fn sit(&self, task_id: usize, process: Occupant) -> io::Result<()> {
        self.rows.make_read_only()?;
        *lock_place() = Some(Place { board: *self, task_id, process });
        Ok(())
    }

    fn header(&self) -> &'static [AtomicU64] {
        &self.rows.words()[..ROW_WORDS]
    }

    fn row(&self, task_id: usize) -> &'static [AtomicU64] {
        &self.rows.words()[(task_id + 1) * ROW_WORDS..][..ROW_WORDS]
    }

    /// The rows' only writer is the supervisor's only thread.
    fn write(&self, stores: impl FnOnce()) {
        let generation = &self.header()[GENERATION];
        let before = load(generation);
        store(generation, before.wrapping_add(1));
        fence(Ordering::Release);
        stores();
        generation.store(before.wrapping_add(2), Ordering::Release);
    }

    /// What `read` returns when nothing was written meanwhile.
    fn read<T>(&self, read: impl Fn() -> T) -> T {
        let generation = &self.header()[GENERATION];
        let undisturbed = || {
            let before = generation.load(Ordering::Acquire);
            let result = (before % 2 == 0).then(&read)?;
            fence(Ordering::Acquire);
            (load(generation) == before).then_some(result)
        };
        let mut start = None;
        loop {
            // Before the tries: a reader that is late itself has not tried yet.
            let is_over = start.is_some_and(|start: Instant| start.elapsed() >= PATIENCE);
            if let Some(result) = (0..TRIES).find_map(|_| undisturbed()) {
                return result;
            }
            if is_over {
                return read();
            }
            start.get_or_insert_with(Instant::now);
            // It may need this processor to get to the end of its write.
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// What a worker that has a place sees, or the supervisor.
    fn status(&self, place: Option<&Place>) -> Status {
        let mut status = self.read(|| self.rows_now());
        if let Some(place) = place {
            status.put_own(place);
        }
        Status {
            supervisor: load(&self.header()[SUPERVISOR]) as i32,
            started: self.origin,
            restarts: status.budget_used,
            workers: status.rows.into_iter().map(|(task_id, row, _)| self.worker_status(task_id, row)).collect(),
        }
    }

    fn rows_now(&self) -> Rows {
        let header = |word| load(&self.header()[word]) as usize;
        let workers = header(WORKERS);
        let rows = (0..workers.max(header(PUBLISHED)).min(self.capacity)).map(|task_id| {
            let (row, forks) = self.row_now(task_id);
            (task_id, row, forks)
        });
        let wanted_or_alive = |&(task_id, row, _): &(usize, Row, u64)| task_id < workers || row.proc.is_some();
        Rows { budget_used: header(BUDGET_USED), rows: rows.filter(wanted_or_alive).collect() }
    }

    /// With how many forks there were for it.
    fn row_now(&self, task_id: usize) -> (Row, u64) {
        let words = self.row(task_id);
        let word = |word: usize| load(&words[word]);
        let forks = word(FORKS);
        let process = Occupant {
            pid: word(PID) as i32,
            fork: forks.wrapping_sub(1),
            seat: word(SEAT) as usize,
            started: Duration::from_nanos(word(STARTED)),
        };
        let state = State::from_word(word(STATE));
        (
            Row { state, proc: Some(process).filter(|process| process.pid != 0), restarts: word(RESTARTS) as usize },
            forks,
        )
    }

    fn worker_status(&self, task_id: usize, row: Row) -> WorkerStatus {
        let words = row.proc.and_then(|proc| self.flags(task_id, proc.seat, proc.fork));
        let beat = words.and_then(|(flags, seat)| (flags & BEATING != 0).then(|| load(seat.beat)));
        WorkerStatus {
            task_id,
            state: row.state,
            pid: row.proc.map(|proc| proc.pid),
            started: row.proc.and_then(|proc| self.origin.checked_add(proc.started)),
            restarts: row.restarts,
            last_beat: beat.and_then(|beat| Instant::now().checked_sub(age(beat_time(beat)))),
            beats: beat.map_or(0, beat_count),
        }
    }

    /// The flags of the worker that was forked as this one, if it has said anything in that seat.
    fn flags(&self, task_id: usize, seat: usize, fork: u64) -> Option<(u64, Seat)> {
        let seat = self.seat(task_id, seat);
        // What was stored before a flag is seen with it.
        let said = seat.said.load(Ordering::Acquire);
        (said & !FLAGS == tag(fork)).then_some((said & FLAGS, seat))
    }

    fn seat(&self, task_id: usize, seat: usize) -> Seat {
        let words = &self.seats.words()[self.seat_range(task_id, seat)];
        Seat { said: &words[SAID], beat: &words[BEAT], terminated: &words[TERMINATED_AT] }
    }

    fn seat_range(&self, task_id: usize, seat: usize) -> Range<usize> {
        let start = (task_id * SEATS + seat) * self.seat_words;
        start..start + self.seat_words
    }
}

/// The rows of one reading.
struct Rows {
    budget_used: usize,
    /// With how many forks there were for the slot.
    rows: Vec<(usize, Row, u64)>,
}

impl Rows {
    /// A worker may ask before the supervisor has published that it forked it, and sees itself nonetheless.
    fn put_own(&mut self, place: &Place) {
        let own =
            Row { state: State::Starting, proc: Some(place.process), restarts: worker().map_or(0, Worker::restarts) };
        let forks = place.process.fork + 1;
        match self.rows.binary_search_by_key(&place.task_id, |&(task_id, ..)| task_id) {
            Ok(index) if self.rows[index].2 < forks => self.rows[index] = (place.task_id, own, forks),
            Ok(_) => {}
            Err(index) => self.rows.insert(index, (place.task_id, own, forks)),
        }
    }
}

fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

fn store(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Relaxed);
}

// What a worker says, in the lowest bits of `said`; the others are the tag of who said it.
numbered!(FLAG_NAMES: u64 = 1, then [<< 1] { READY, RECYCLE, BEATING, TERMINATED });
const FLAGS: u64 = 0xff;

fn tag(fork: u64) -> u64 {
    fork << FLAGS.count_ones()
}

/// The words of a seat.
#[derive(Clone, Copy)]
struct Seat {
    said: &'static AtomicU64,
    beat: &'static AtomicU64,
    terminated: &'static AtomicU64,
}

/// From this bit on a beat has its time; below is the count.
const BEAT_TIME: u32 = 32;

/// The next value of `beat`: when it was, and how many there were.
fn next_beat(before: u64, now: u32) -> u64 {
    u64::from(now) << BEAT_TIME | u64::from(beat_count(before).wrapping_add(1))
}

fn beat_time(beat: u64) -> u32 {
    (beat >> BEAT_TIME) as u32
}

fn beat_count(beat: u64) -> u32 {
    beat as u32
}

/// How long ago the clock showed these milliseconds.
fn age(milliseconds: u32) -> Duration {
    age_at(sys::milliseconds(), milliseconds)
}

fn age_at(now: u32, milliseconds: u32) -> Duration {
    /// What seems almost 49 days old was stored since the clock was read.
    const FUTURE: u32 = u32::MAX - 60_000;
    match now.wrapping_sub(milliseconds) {
        FUTURE.. => Duration::ZERO,
        age => Duration::from_millis(age.into()),
    }
}

/// Where this worker sits.
#[derive(Clone, Copy)]
struct Place {
    board: Board,
    task_id: usize,
    process: Occupant,
}

/// Not a `OnceLock`, whose code would be one page more for each new worker to enter.
static PLACE: Mutex<Option<Place>> = Mutex::new(None);

#[inline]
fn lock_place() -> MutexGuard<'static, Option<Place>> {
    PLACE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The seat of this worker, once it may write to it; `None` inside when it cannot.
static OWN_SEAT: OnceLock<Option<OwnSeat>> = OnceLock::new();

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
    let taken = || sys::notice_forks().and_then(|()| OwnSeat::take(&place.board, place.task_id, place.process));
    let take = || match taken() {
        Ok(seat) => Some(seat),
        Err(error) => {
            report::warn(&format!(
                "worker {} (pid {}) cannot write to the scoreboard: {error}; its calls of ready(), heartbeat() and \
                 recycle() do nothing",
                place.task_id, place.process.pid
            ));
            None
        }
    };
    OWN_SEAT.get_or_init(take).as_ref()
}

struct OwnSeat {
    seat: Seat,
    task_id: u32,
    pid: i32,
}

impl OwnSeat {
    fn take(board: &Board, task_id: usize, process: Occupant) -> io::Result<OwnSeat> {
        board.seats.make_writable(board.seat_range(task_id, process.seat))?;
        let seat = board.seat(task_id, process.seat);
        // Whoever sees the new tag sees nothing of a predecessor.
        store(seat.beat, 0);
        store(seat.terminated, 0);
        seat.said.store(tag(process.fork), Ordering::Release);
        Ok(OwnSeat { seat, task_id: u32::try_from(task_id).unwrap_or(u32::MAX), pid: process.pid })
    }

    fn say(&self, flag: u64) {
        let before = self.seat.said.fetch_or(flag, Ordering::Release);
        if before & flag == 0 {
            sys::ring(self.task_id);
        }
    }

    /// Several threads may: a count that is lost does not matter, and the times are the same.
    #[inline]
    fn beat(&self) {
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
    fn terminated(&self) {
        if sys::getpid().as_raw() == self.pid {
            store(self.seat.terminated, sys::milliseconds().into());
            self.seat.said.fetch_or(TERMINATED, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn board(workers: usize) -> Board {
        Board::new(workers).unwrap().0
    }

    fn process(fork: u64, seat: usize) -> Occupant {
        Occupant { pid: 4711, fork, seat, started: Duration::from_millis(250) }
    }

    fn running(fork: u64, seat: usize) -> Row {
        Row { state: State::Ready, proc: Some(process(fork, seat)), restarts: 3 }
    }

    #[test]
    fn there_is_room_for_more_workers() {
        assert_eq!([0, 1, 4, 64, 65, 4096].map(capacity), [64, 65, 68, 128, 130, 8192]);
        assert_eq!(capacity(usize::MAX), usize::MAX);
        assert_eq!(board(4).capacity, 68);
        assert!(Board::new(usize::MAX).is_err());
    }

    #[test]
    fn a_beat_is_packed_with_its_count() {
        let first = next_beat(0, u32::MAX);
        assert_eq!((beat_time(first), beat_count(first)), (u32::MAX, 1));
        let last = next_beat(first, 0) | u64::from(u32::MAX);
        assert_eq!((beat_time(last), beat_count(last)), (0, u32::MAX));
        let wrapped = next_beat(last, 5);
        assert_eq!((beat_time(wrapped), beat_count(wrapped)), (5, 0), "a count that overflows leaves the time alone");
    }

    #[test]
    fn names_in_another_order_are_another_shape_and_have_other_numbers() {
        mod other {
            numbered!(NAMES: usize = 0, then [+ 1] { SAID, TERMINATED_AT, BEAT });
            pub(super) const PLACES: [usize; 3] = [SAID, BEAT, TERMINATED_AT];
            pub(super) const SHAPE: &[&str] = NAMES;
        }
        assert_eq!(([SAID, BEAT, TERMINATED_AT], other::PLACES), ([0, 1, 2], [0, 2, 1]));
        assert_ne!(SEAT_WORDS, other::SHAPE);
        assert!(shape().contains(&SEAT_WORDS.join(",")));
        assert_eq!([READY, RECYCLE, BEATING, TERMINATED], [1, 2, 4, 8], "a bit for each");
        const { assert!(HEADER.len() <= ROW_WORDS && ROW.len() <= ROW_WORDS && 1 << FLAG_NAMES.len() <= FLAGS) };
    }

    #[test]
    fn an_age_survives_the_wrap_of_the_clock() {
        let ms = |milliseconds| Duration::from_millis(milliseconds);
        assert_eq!(age_at(1000, 400), ms(600));
        assert_eq!(age_at(100, u32::MAX - 99), ms(200));
        assert_eq!(age_at(7, 7), ms(0));
        assert_eq!(age_at(1000, 1010), ms(0), "stored after the clock was read");
        assert_eq!(age_at(5, u32::MAX), ms(6));
        assert_eq!(age_at(u32::MAX, 5), ms(0), "stored after the clock was read, and had wrapped");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_next_binary_has_the_same_board() {
        let (board, file) = Board::new(2).unwrap();
        let file = file.expect("Linux has memory that is a file");
        board.publish(1, running(5, 0));
        OwnSeat::take(&board, 1, process(5, 0)).unwrap().say(READY);
        let next = Board::adopt(file.as_fd(), board.capacity(), board.origin()).unwrap();
        assert_eq!((next.row_now(1), next.row_now(0).0.proc), ((running(5, 0), 6), None));
        assert!(next.hear(1, 0, 5).ready);
        next.publish(0, running(6, 1));
        assert_eq!(board.row_now(0), (running(6, 1), 7), "whoever has the old one sees what is new");
        assert!(
            Board::adopt(file.as_fd(), board.capacity() * 2, board.origin()).is_err(),
            "it is not as large as that"
        );
    }

    #[test]
    fn every_state_survives_a_row() {
        let board = board(1);
        for state in State::ALL {
            let row = Row { state, ..running(9, 1) };
            board.publish(0, row);
            assert_eq!(board.row_now(0), (row, 10));
        }
        let waiting = Row { state: State::Waiting, proc: None, restarts: 4 };
        board.publish(0, waiting);
        assert_eq!(board.row_now(0), (waiting, 10));
        assert_eq!(format!("{:<9}|{}", State::Ready, State::Waiting), "ready    |waiting");
    }

    #[test]
    fn a_worker_is_heard_in_its_seat_alone() {
        let board = board(2);
        assert_eq!(board.hear(1, 0, 5), Said::default());
        let seat = OwnSeat::take(&board, 1, process(5, 0)).unwrap();
        assert_eq!(board.hear(1, 0, 5), Said::default());
        seat.say(READY);
        assert_eq!(board.hear(1, 0, 5), Said { ready: true, ..Said::default() });
        seat.say(RECYCLE);
        seat.beat();
        seat.terminated();
        let said = board.hear(1, 0, 5);
        assert!(said.ready && said.recycle && said.beat.is_some());
        assert_eq!(said.terminated, None, "pid 4711 is another process");
        for (task_id, seat, fork) in [(1, 0, 4), (1, 0, 6), (1, 1, 5), (0, 0, 5)] {
            assert_eq!(board.hear(task_id, seat, fork), Said::default(), "task {task_id}, seat {seat}, fork {fork}");
        }
    }

    #[test]
    fn a_predecessors_words_are_gone_when_the_seat_is_taken() {
        let board = board(1);
        let pid = sys::getpid().as_raw();
        let before = OwnSeat::take(&board, 0, Occupant { pid, ..process(0, 0) }).unwrap();
        before.beat();
        before.terminated();
        before.say(RECYCLE);
        assert!(board.hear(0, 0, 0).terminated.is_some_and(|age| age < Duration::from_secs(60)));
        let after = OwnSeat::take(&board, 0, process(2, 0)).unwrap();
        assert_eq!([0, 2].map(|fork| board.hear(0, 0, fork)), [Said::default(); 2]);
        assert_eq!([load(after.seat.beat), load(after.seat.terminated)], [0, 0]);
    }

    #[test]
    fn beats_are_counted_and_dated() {
        let board = board(1);
        let seat = OwnSeat::take(&board, 0, process(1, 0)).unwrap();
        board.publish(0, running(1, 0));
        let beats = || board.status(None).workers[0].clone();
        assert_eq!((beats().beats, beats().last_beat), (0, None));
        for _ in 0..1000 {
            seat.beat();
        }
        assert_eq!(beats().beats, 1000);
        assert!(beats().last_beat.unwrap().elapsed() < Duration::from_secs(60));
        assert!(board.hear(0, 0, 1).beat.unwrap() < Duration::from_secs(60));
        board.publish(0, running(2, 0));
        assert_eq!((beats().beats, beats().last_beat), (0, None), "they were a predecessor's");
    }

    #[test]
    fn status_says_what_was_published() {
        let board = board(3);
        board.set_totals(3, 7);
        board.publish(1, running(2, 1));
        board.publish(2, Row { state: State::Finished, proc: None, restarts: 1 });
        let status = board.status(None);
        assert_eq!((status.supervisor, status.restarts), (sys::getpid().as_raw(), 7));
        let seen: Vec<_> = status.workers.iter().map(|w| (w.task_id, w.state, w.pid, w.restarts)).collect();
        let expected = [(0, State::Starting, None, 0), (1, State::Ready, Some(4711), 3), (2, State::Finished, None, 1)];
        assert_eq!(seen, expected);
        assert_eq!(status.workers[1].started, Some(status.started + Duration::from_millis(250)));
    }

    #[test]
    fn a_worker_that_is_removed_is_seen_until_it_has_ended() {
        let board = board(1);
        let task_ids = || board.status(None).workers.iter().map(|worker| worker.task_id).collect::<Vec<_>>();
        board.publish(64, running(0, 0));
        assert_eq!(task_ids(), [0, 64]);
        board.set_totals(65, 0);
        assert_eq!(task_ids(), (0..65).collect::<Vec<_>>());
        board.set_totals(1, 0);
        board.publish(64, Row { state: State::Finished, proc: None, restarts: 0 });
        assert_eq!(task_ids(), [0]);
    }

    #[test]
    fn a_worker_sees_itself_before_it_is_published() {
        let board = board(2);
        let own = |fork| Place { board, task_id: 1, process: Occupant { pid: 42, ..process(fork, 1) } };
        let seen = |fork| {
            let own = board.status(Some(&own(fork))).workers[1].clone();
            (own.state, own.pid)
        };
        assert_eq!(seen(0), (State::Starting, Some(42)));
        board.publish(1, running(0, 0));
        assert_eq!(seen(0), (State::Ready, Some(4711)), "what is published is true");
        assert_eq!(seen(1), (State::Starting, Some(42)));
        board.publish(1, Row { state: State::Waiting, proc: None, restarts: 1 });
        assert_eq!(seen(0), (State::Waiting, None));
        assert_eq!(seen(1), (State::Starting, Some(42)));
        let added = Place { task_id: 9, ..own(0) };
        assert_eq!(board.status(Some(&added)).workers.last().map(|worker| worker.task_id), Some(9));
    }

    #[test]
    fn no_reading_is_torn() {
        let board = board(8);
        let row = |n: usize| {
            let process =
                Occupant { pid: n as i32, fork: n as u64, seat: n % 2, started: Duration::from_nanos(n as u64) };
            Row { state: State::Ready, proc: Some(process), restarts: n }
        };
        (0..8).for_each(|task_id| board.publish(task_id, row(1)));
        let readings = AtomicUsize::new(0);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let deadline = Instant::now() + Duration::from_secs(60);
                for n in 2.. {
                    (0..8).for_each(|task_id| board.publish(task_id, row(n)));
                    let has_read = readings.load(Ordering::Relaxed) > 0;
                    if n >= 20_000 && has_read || Instant::now() > deadline {
                        break;
                    }
                }
            });
            while !writer.is_finished() {
                let start = Instant::now();
                let workers = board.status(None).workers;
                if start.elapsed() >= PATIENCE {
                    // The writer was not waited for any longer, perhaps.
                    continue;
                }
                for worker in &workers {
                    let n = worker.restarts;
                    let started = board.origin + Duration::from_nanos(n as u64);
                    assert_eq!((worker.pid, worker.started), (Some(n as i32), Some(started)), "half a row");
                }
                let restarts: Vec<_> = workers.iter().map(|worker| worker.restarts).collect();
                assert!(restarts.is_sorted_by(|a, b| a >= b) && restarts[0] - restarts[7] <= 1, "{restarts:?}");
                readings.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert!(readings.into_inner() > 0);
    }

    #[test]
    fn a_supervisor_stopped_while_it_writes_is_not_waited_for() {
        let board = board(1);
        board.publish(0, running(1, 0));
        store(&board.header()[GENERATION], 1);
        assert_eq!(board.status(None).workers[0].pid, Some(4711));
    }

    #[test]
    fn a_status_is_there_once_there_is_a_board() {
        let _ = board(1);
        assert_eq!(status().map(|status| status.supervisor), Some(sys::getpid().as_raw()));
    }

    #[test]
    fn without_a_place_nothing_happens() {
        ready();
        heartbeat();
        recycle();
        prepare();
        terminated();
        assert!(OWN_SEAT.get().is_none());
    }
}
