//! The rows, which the supervisor writes and every process reads, and what workers have reported in their seats.
//!
//! It must not know how a worker reports.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::layout::*;
use super::seat::{self, Seat};
use crate::policy::{Reported, State};
use crate::sys::{self, SharedMemory, SharedWords};

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
    /// The number of its fork, counted for the slot.
    pub(crate) fork: u64,
    /// 0 or 1.
    pub(crate) seat: usize,
    /// Since the scoreboard was made.
    pub(crate) started: Duration,
}

/// The rows of one reading: those of slots that are wanted or alive.
pub(crate) struct Snapshot {
    pub(crate) supervisor: i32,
    pub(crate) budget_used: usize,
    pub(crate) slots: Vec<Slot>,
}

/// A slot as it was published.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) task_id: usize,
    pub(crate) row: Row,
    /// How many forks there were for it.
    pub(crate) forks: u64,
}

/// The shared memory, to be read.
#[derive(Clone, Copy)]
pub(crate) struct Board {
    words: SharedWords,
    seats_start: usize,
    seat_words: usize,
    capacity: usize,
    origin: Instant,
}

/// The shared memory in the supervisor, which writes rows, until a worker takes its seat.
pub(crate) struct Publisher {
    memory: SharedMemory,
    board: Board,
}

/// The board of this process and of the processes forked from it.
static BOARD: Mutex<Option<Board>> = Mutex::new(None);

fn lock_board() -> MutexGuard<'static, Option<Board>> {
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The board of the pool that this process belongs to, if it belongs to one.
pub(crate) fn current() -> Option<Board> {
    *lock_board()
}

/// Forgets the board of a pool whose start has failed.
pub(crate) fn forget() {
    *lock_board() = None;
}

/// How often a reader tries to read between two writes before it looks at the clock.
const TRIES: usize = 64;
/// How long a reader waits for a supervisor that was stopped or starved in the middle of a write.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

impl Publisher {
    /// Before the first fork, in the process that becomes the supervisor. The memory is that of a file, for the next
    /// binary, where there can be such a file.
    pub(crate) fn new(workers: usize) -> io::Result<Publisher> {
        let layout = Layout::of(capacity(workers))?;
        let memory = match sys::memory_file("prefork-scoreboard", layout.bytes()) {
            Ok(file) => SharedMemory::of_file(file, layout.words),
            Err(_) => SharedMemory::anonymous(layout.words),
        };
        Ok(Publisher::of_new(memory?, &layout, workers))
    }

    fn of_new(memory: SharedMemory, layout: &Layout, workers: usize) -> Publisher {
        let publisher = Publisher::of(memory, layout, capacity(workers), Instant::now());
        publisher.put(SUPERVISOR, sys::getpid().as_raw() as u64);
        publisher.put(WORKERS, workers as u64);
        publisher
    }

    /// That of a pool whose supervisor this process has been as another binary; of `capacity` slots, made at `origin`.
    pub(crate) fn adopt(file: File, capacity: usize, origin: Instant) -> io::Result<Publisher> {
        let layout = Layout::of(capacity)?;
        let publisher = Publisher::of(SharedMemory::of_file(file, layout.words)?, &layout, capacity, origin);
        // The previous binary may have been replaced in the middle of a write, and readers must not wait for it.
        publisher.put(GENERATION, publisher.memory.load(GENERATION).next_multiple_of(2));
        Ok(publisher)
    }

    fn of(memory: SharedMemory, layout: &Layout, capacity: usize, origin: Instant) -> Publisher {
        let (seats_start, seat_words) = (layout.seats_start, layout.seat_words);
        let board = Board { words: memory.readable(), seats_start, seat_words, capacity, origin };
        *lock_board() = Some(board);
        Publisher { memory, board }
    }

    /// `PREFORK=off`: this process is the pool.
    pub(crate) fn alone() -> io::Result<()> {
        let layout = Layout::of(capacity(1))?;
        let publisher = Publisher::of_new(SharedMemory::anonymous(layout.words)?, &layout, 1);
        let process = Occupant { pid: sys::getpid().as_raw(), fork: 0, seat: 0, started: Duration::ZERO };
        publisher.publish(0, Row { state: State::Ready, proc: Some(process), restarts: 0 });
        publisher.sit(0, process).map(drop)
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// The file of its memory, for the next binary.
    pub(crate) fn file(&self) -> Option<&File> {
        self.memory.file()
    }

    /// Whether a worker has ever reported anything in this worker's seat, where the system tells. To read a seat that has not
    /// been written to gives it memory.
    pub(crate) fn has_reports(&self, task_id: usize, worker: &Occupant) -> bool {
        self.memory.was_written(self.board.seat_range(task_id, worker.seat))
    }

    /// Publishes a slot's row.
    pub(crate) fn publish(&self, task_id: usize, row: Row) {
        let start = row_start(task_id);
        self.write(|| {
            self.put(start + STATE, row.state as u64);
            self.put(start + RESTARTS, row.restarts as u64);
            self.put(start + PID, row.proc.map_or(0, |proc| proc.pid as u64));
            if let Some(proc) = row.proc {
                self.put(start + FORKS, proc.fork + 1);
                self.put(start + SEAT, proc.seat as u64);
                self.put(start + STARTED, proc.started.as_nanos() as u64);
            }
            self.put(PUBLISHED, self.memory.load(PUBLISHED).max(task_id as u64 + 1));
        });
    }

    /// Publishes how many workers are wanted and how many restarts are used.
    pub(crate) fn set_totals(&self, workers: usize, budget_used: usize) {
        self.write(|| {
            self.put(WORKERS, workers as u64);
            self.put(BUDGET_USED, budget_used as u64);
        });
    }

    /// Publishes with a sequence lock. The only writer of the rows is the supervisor's only thread.
    fn write(&self, stores: impl FnOnce()) {
        let before = self.memory.load(GENERATION);
        self.put(GENERATION, before.wrapping_add(1));
        fence(Ordering::Release);
        stores();
        self.memory.store(GENERATION, before.wrapping_add(2), Ordering::Release);
    }

    pub(super) fn put(&self, word: usize, value: u64) {
        self.memory.store(word, value, Ordering::Relaxed);
    }

    /// A seat to write to, for tests.
    #[cfg(test)]
    pub(super) fn seat(&self, task_id: usize, seat: usize) -> Seat {
        Seat::of(&self.memory.writable()[self.board.seat_range(task_id, seat)])
    }

    /// Gives this process its seat, and takes from it the right to write to anything else, once it has closed the file. In a
    /// worker, right after the fork.
    #[inline]
    pub(crate) fn sit(self, task_id: usize, process: Occupant) -> io::Result<Option<OwnedFd>> {
        let (own, file) = self.memory.narrow(self.board.seat_range(task_id, process.seat))?;
        seat::sit(Seat::of(own.words()), task_id, process);
        Ok(file.map(OwnedFd::from))
    }
}

fn row_start(task_id: usize) -> usize {
    (task_id + 1) * ROW_WORDS
}

impl Board {
    /// How many slots there can be.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// When it was made.
    pub(crate) fn origin(&self) -> Instant {
        self.origin
    }

    /// How long ago it was made.
    pub(crate) fn age(&self) -> Duration {
        self.origin.elapsed()
    }

    /// What this worker has reported.
    pub(crate) fn read_report(&self, task_id: usize, worker: &Occupant) -> Reported {
        let Some((flags, seat)) = self.flags(task_id, worker) else { return Reported::default() };
        let has = |flag| flags & flag != 0;
        let lifetime = self.age().saturating_sub(worker.started);
        Reported {
            ready: has(READY),
            recycle: has(RECYCLE),
            terminated: has(TERMINATED).then(|| age(load(seat.terminated) as u32).min(lifetime)),
            heartbeat: has(HAS_HEARTBEAT).then(|| age(heartbeat_time(load(seat.heartbeat))).min(lifetime)),
        }
    }

    fn header(&self) -> &'static [AtomicU64] {
        &self.words.words()[..ROW_WORDS]
    }

    fn row(&self, task_id: usize) -> &'static [AtomicU64] {
        &self.words.words()[row_start(task_id)..][..ROW_WORDS]
    }

    /// Calls `read` until nothing was written while it ran, and returns its result.
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
            // The clock is read before the tries: a reader that was delayed itself has not tried yet.
            let is_over = start.is_some_and(|start: Instant| start.elapsed() >= PATIENCE);
            if let Some(result) = (0..TRIES).find_map(|_| undisturbed()) {
                return result;
            }
            if is_over {
                return read();
            }
            start.get_or_insert_with(Instant::now);
            // The supervisor may need this processor to finish its write.
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// All that the supervisor has published, as it was at one moment.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.read(|| self.rows_now())
    }

    fn rows_now(&self) -> Snapshot {
        let header = |word| load(&self.header()[word]) as usize;
        let workers = header(WORKERS);
        let mut slots = Vec::new();
        for task_id in 0..workers.max(header(PUBLISHED)).min(self.capacity) {
            let (row, forks) = self.row_now(task_id);
            let wanted_or_alive = task_id < workers || row.proc.is_some();
            if wanted_or_alive {
                slots.push(Slot { task_id, row, forks });
            }
        }
        Snapshot { supervisor: load(&self.header()[SUPERVISOR]) as i32, budget_used: header(BUDGET_USED), slots }
    }

    /// A slot's row, and how many forks there were for the slot.
    pub(super) fn row_now(&self, task_id: usize) -> (Row, u64) {
        let words = self.row(task_id);
        let word = |word: usize| load(&words[word]);
        let forks = word(FORKS);
        let process = Occupant {
            pid: word(PID) as i32,
            fork: forks.wrapping_sub(1),
            // A torn row must not hold another seat either.
            seat: (word(SEAT) as usize).min(SEATS - 1),
            started: Duration::from_nanos(word(STARTED)),
        };
        let state = state_of(word(STATE));
        (
            Row { state, proc: Some(process).filter(|process| process.pid != 0), restarts: word(RESTARTS) as usize },
            forks,
        )
    }

    /// How long ago this worker's last heartbeat was, to about 10 ms, and how many there were; `None` before the first.
    pub(crate) fn heartbeats(&self, task_id: usize, worker: &Occupant) -> Option<(Duration, u32)> {
        let (flags, seat) = self.flags(task_id, worker)?;
        let heartbeat = (flags & HAS_HEARTBEAT != 0).then(|| load(seat.heartbeat))?;
        let lifetime = self.age().saturating_sub(worker.started);
        Some((age(heartbeat_time(heartbeat)).min(lifetime), heartbeat_count(heartbeat)))
    }

    /// How many connections this worker has open, where it counts them.
    pub(crate) fn connections(&self, task_id: usize, worker: &Occupant) -> Option<u32> {
        let (_, seat) = self.flags(task_id, worker)?;
        connections(load(seat.connections))
    }

    /// How many connections the workers of other slots have open, of those that are ready, were not told to end, and have a
    /// balanced listener. Of at most `most` slots, those that follow.
    ///
    /// They are read one after another while their workers and the supervisor write, so a number may be too old.
    #[cfg(feature = "tokio")]
    pub(super) fn connections_of_others(&self, task_id: usize, most: usize) -> impl Iterator<Item = u32> + use<> {
        let header = |word| load(&self.header()[word]) as usize;
        let slots = header(WORKERS).max(header(PUBLISHED)).min(self.capacity);
        let board = *self;
        let others = (1..slots.min(most.saturating_add(1))).map(move |step| (task_id + step) % slots);
        others.filter(move |&other| other != task_id).filter_map(move |other| {
            let Row { state, proc, .. } = board.row_now(other).0;
            let worker = proc.filter(|_| state == State::Ready)?;
            let (_, seat) = board.flags(other, &worker).filter(|(flags, _)| flags & TERMINATED == 0)?;
            let counts = load(seat.connections);
            is_balanced(counts).then_some(counts as u32)
        })
    }

    /// The flags of this worker, if it has reported anything.
    fn flags(&self, task_id: usize, worker: &Occupant) -> Option<(u64, Seat)> {
        let seat = Seat::of(&self.words.words()[self.seat_range(task_id, worker.seat)]);
        // What was stored before a flag is seen with it.
        let reported = seat.reported.load(Ordering::Acquire);
        (reported & !FLAGS == tag(worker.fork)).then_some((reported & FLAGS, seat))
    }

    fn seat_range(&self, task_id: usize, seat: usize) -> Range<usize> {
        let start = self.seats_start + (task_id * SEATS + seat) * self.seat_words;
        start..start + self.seat_words
    }
}
