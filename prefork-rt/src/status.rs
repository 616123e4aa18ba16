//! The public snapshot of the pool.
//!
//! It must not know where in the shared memory anything is.

#[cfg(feature = "serde")]
mod serialize;

use std::str::FromStr;
use std::time::Instant;

use crate::error::UnknownWord;
use crate::identity::identity;
use crate::policy::State;
use crate::scoreboard::{self, Board, Occupant, Row, Slot, Snapshot};

/// The whole pool as it is now: for a `/status` handler in any worker, which can answer for all.
///
/// `None` where nothing was started, in this process or the one that forked it; `Some` in the supervisor and in every
/// worker, and under `PREFORK=off`, where the pool is this process. The supervisor never waits for a process that asks.
///
/// What the supervisor knows (everything but the heartbeats) is a consistent snapshot: a reading that overlaps with a write
/// of the supervisor is thrown away and taken again. Only if the supervisor was stopped in the middle of a write (by a
/// debugger, say), the reading is returned as it is, after half a second.
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
    scoreboard::current().map(|board| Status::of(&board, scoreboard::own()))
}

/// What [`status`] returns: the supervisor and its workers.
///
/// ```
/// use prefork_rt::{State, Status};
///
/// /// What a health check of a load balancer wants to know.
/// fn is_healthy(status: &Status) -> bool {
///     status.workers.iter().all(|worker| matches!(worker.state, State::Ready | State::Finished))
/// }
/// ```
///
/// With the cargo feature `serde` it implements `serde::Serialize`: fields that are an [`Instant`] are written as the
/// seconds since then, as `started_seconds_ago` and `last_beat_seconds_ago`, and a [`State`] as its word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Status {
    /// The process id of the supervisor.
    pub supervisor: u32,
    /// When it started.
    pub started: Instant,
    /// How many restarts of `max_restarts` are used.
    pub restarts: usize,
    /// One for each task id, in their order; those that are being removed stay until their process has ended.
    pub workers: Vec<WorkerStatus>,
}

/// The worker of one task id.
///
/// ```
/// use prefork_rt::WorkerStatus;
///
/// fn line(worker: &WorkerStatus) -> String {
///     let pid = worker.pid.map_or("no process".to_owned(), |pid| format!("pid {pid}"));
///     format!("worker {} is {}, {pid}, {} restarts", worker.task_id, worker.state, worker.restarts)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its task id.
    pub task_id: usize,
    /// What it is doing.
    pub state: State,
    /// Its process id; `None` while it has no process.
    pub pid: Option<u32>,
    /// When that process was started.
    pub started: Option<Instant>,
    /// How many times the task id was started before.
    pub restarts: usize,
    /// The last [`heartbeat`](crate::Worker::heartbeat) of that process, to about 10 ms. One that is 49 days old looks
    /// new.
    pub last_beat: Option<Instant>,
    /// How many heartbeats that process has made. It begins again at 0 after 2^32 of them, and misses some of those
    /// that several threads make at once.
    pub beats: u32,
    /// How many connections that process has open, of those that it has accepted from listeners that count them, as
    /// `BalancedListener` does (cargo feature `tokio`); `None` where it has no such listener and no such connection.
    pub connections: Option<u32>,
}

impl Status {
    /// The status as a process sees it. `own` is the task id and process of a worker that asks.
    fn of(board: &Board, own: Option<(usize, Occupant)>) -> Status {
        let Snapshot { supervisor, budget_used, mut slots } = board.snapshot();
        if let Some((task_id, process)) = own {
            put_own(&mut slots, task_id, process);
        }
        let mut workers = Vec::with_capacity(slots.len());
        for slot in &slots {
            workers.push(WorkerStatus::of(board, slot));
        }
        Status { supervisor: supervisor.unsigned_abs(), started: board.origin(), restarts: budget_used, workers }
    }
}

impl WorkerStatus {
    fn of(board: &Board, &Slot { task_id, row, .. }: &Slot) -> WorkerStatus {
        let heartbeats = row.proc.and_then(|proc| board.heartbeats(task_id, &proc));
        WorkerStatus {
            task_id,
            state: row.state,
            pid: row.proc.map(|proc| proc.pid.unsigned_abs()),
            started: row.proc.and_then(|proc| board.origin().checked_add(proc.started)),
            restarts: row.restarts,
            last_beat: heartbeats.and_then(|(age, _)| Instant::now().checked_sub(age)),
            beats: heartbeats.map_or(0, |(_, count)| count),
            connections: row.proc.and_then(|proc| board.connections(task_id, &proc)),
        }
    }
}

impl FromStr for State {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<State, UnknownWord> {
        State::ALL.into_iter().find(|state| state.to_string() == word).ok_or_else(|| {
            let words = State::ALL.map(|state| format!("{:?}", state.to_string())).join(", ");
            UnknownWord(format!("{word:?} is not what a worker is doing: that is one of {words}"))
        })
    }
}

/// Adds the worker that asks, which may do so before the supervisor has published that it was forked.
fn put_own(slots: &mut Vec<Slot>, task_id: usize, process: Occupant) {
    let row = Row {
        state: State::Starting,
        proc: Some(process),
        restarts: identity().map_or(0, |identity| identity.restarts),
    };
    let own = Slot { task_id, row, forks: process.fork + 1 };
    match slots.binary_search_by_key(&task_id, |slot| slot.task_id) {
        Ok(index) if slots[index].forks < own.forks => slots[index] = own,
        Ok(_) => {}
        Err(index) => slots.insert(index, own),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scoreboard::Publisher;

    fn publisher(workers: usize) -> Publisher {
        Publisher::new(workers).unwrap()
    }

    fn process(fork: u64, seat: usize) -> Occupant {
        Occupant { pid: 4711, fork, seat, started: Duration::from_millis(250) }
    }

    fn running(fork: u64, seat: usize) -> Row {
        Row { state: State::Ready, proc: Some(process(fork, seat)), restarts: 3 }
    }

    #[test]
    fn status_says_what_was_published() {
        let board = publisher(3);
        board.set_totals(3, 7);
        board.publish(1, running(2, 1));
        board.publish(2, Row { state: State::Finished, proc: None, restarts: 1 });
        let status = Status::of(board.board(), None);
        assert_eq!((status.supervisor, status.restarts), (std::process::id(), 7));
        let seen: Vec<_> = status.workers.iter().map(|w| (w.task_id, w.state, w.pid, w.restarts)).collect();
        let expected = [(0, State::Starting, None, 0), (1, State::Ready, Some(4711), 3), (2, State::Finished, None, 1)];
        assert_eq!(seen, expected);
        assert_eq!(status.workers[1].started, Some(status.started + Duration::from_millis(250)));
    }

    #[test]
    fn a_worker_that_is_removed_is_seen_until_it_has_ended() {
        let board = publisher(1);
        let task_ids =
            || Status::of(board.board(), None).workers.iter().map(|worker| worker.task_id).collect::<Vec<_>>();
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
        let board = publisher(2);
        let own = |fork| (1, Occupant { pid: 42, ..process(fork, 1) });
        let seen = |fork| {
            let own = Status::of(board.board(), Some(own(fork))).workers[1].clone();
            (own.state, own.pid)
        };
        assert_eq!(seen(0), (State::Starting, Some(42)));
        board.publish(1, running(0, 0));
        assert_eq!(seen(0), (State::Ready, Some(4711)), "what is published is true");
        assert_eq!(seen(1), (State::Starting, Some(42)));
        board.publish(1, Row { state: State::Waiting, proc: None, restarts: 1 });
        assert_eq!(seen(0), (State::Waiting, None));
        assert_eq!(seen(1), (State::Starting, Some(42)));
        let added = (9, own(0).1);
        assert_eq!(Status::of(board.board(), Some(added)).workers.last().map(|worker| worker.task_id), Some(9));
    }

    #[test]
    fn each_state_is_read_as_it_is_printed() {
        for state in State::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        let unknown = "Ready".parse::<State>().unwrap_err().to_string();
        assert!(unknown.starts_with("\"Ready\" is not") && unknown.contains("\"ready\""), "{unknown}");
    }

    #[test]
    fn a_status_is_there_once_there_is_a_board() {
        let _ = publisher(1);
        assert_eq!(status().map(|status| status.supervisor), Some(std::process::id()));
    }
}
