//! The supervisor's side: it writes rows, reads what workers said in their seats, and any process reads all of it.
//!
//! It must not know which process this is.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::layout::*;
use super::seat::{self, Seat};
use crate::sys::{self, SharedWords};

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

/// The rows of one reading: those of slots that are wanted or alive.
pub(crate) struct Snapshot {
    pub(crate) supervisor: i32,
    pub(crate) budget_used: usize,
    pub(crate) slots: Vec<Slot>,
}

/// What is published of a slot.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) task_id: usize,
    pub(crate) row: Row,
    /// How many forks there were for it.
    pub(crate) forks: u64,
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

/// That of this process and of those forked from it.
static BOARD: Mutex<Option<Board>> = Mutex::new(None);

fn lock_board() -> MutexGuard<'static, Option<Board>> {
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// That of the pool that this process belongs to, if there is one.
pub(crate) fn current() -> Option<Board> {
    *lock_board()
}

/// Nothing was started after all.
pub(crate) fn forget() {
    *lock_board() = None;
}

/// How often a reader tries to get between two writes before it looks at the clock, too.
const TRIES: usize = 64;
/// A supervisor that was stopped or starved in the middle of a write is not waited for any longer.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

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

    /// How long ago it was made.
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
        seat::sit(*self, task_id, process);
        Ok(())
    }

    /// Lets this process write to its seat.
    pub(super) fn open_seat(&self, task_id: usize, seat: usize) -> io::Result<Seat> {
        self.seats.make_writable(self.seat_range(task_id, seat))?;
        Ok(self.seat(task_id, seat))
    }

    pub(super) fn header(&self) -> &'static [AtomicU64] {
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

    /// All that the supervisor has published, as it was at one moment.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.read(|| self.rows_now())
    }

    fn rows_now(&self) -> Snapshot {
        let header = |word| load(&self.header()[word]) as usize;
        let workers = header(WORKERS);
        let rows = (0..workers.max(header(PUBLISHED)).min(self.capacity)).map(|task_id| {
            let (row, forks) = self.row_now(task_id);
            Slot { task_id, row, forks }
        });
        let wanted_or_alive = |slot: &Slot| slot.task_id < workers || slot.row.proc.is_some();
        Snapshot {
            supervisor: load(&self.header()[SUPERVISOR]) as i32,
            budget_used: header(BUDGET_USED),
            slots: rows.filter(wanted_or_alive).collect(),
        }
    }

    /// With how many forks there were for it.
    pub(super) fn row_now(&self, task_id: usize) -> (Row, u64) {
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

    /// When the worker that was forked as this one has last beaten, to about 10 ms, and how often; `None` where it has not.
    pub(crate) fn beats(&self, task_id: usize, seat: usize, fork: u64) -> Option<(Duration, u32)> {
        let (flags, seat) = self.flags(task_id, seat, fork)?;
        let beat = (flags & BEATING != 0).then(|| load(seat.beat))?;
        Some((age(beat_time(beat)), beat_count(beat)))
    }

    /// The flags of the worker that was forked as this one, if it has said anything in that seat.
    fn flags(&self, task_id: usize, seat: usize, fork: u64) -> Option<(u64, Seat)> {
        let seat = self.seat(task_id, seat);
        // What was stored before a flag is seen with it.
        let said = seat.said.load(Ordering::Acquire);
        (said & !FLAGS == tag(fork)).then_some((said & FLAGS, seat))
    }

    pub(super) fn seat(&self, task_id: usize, seat: usize) -> Seat {
        let words = &self.seats.words()[self.seat_range(task_id, seat)];
        Seat { said: &words[SAID], beat: &words[BEAT], terminated: &words[TERMINATED_AT] }
    }

    fn seat_range(&self, task_id: usize, seat: usize) -> Range<usize> {
        let start = (task_id * SEATS + seat) * self.seat_words;
        start..start + self.seat_words
    }
}
