//! Who is started, signalled, replaced and given up on, and when.
//!
//! A pure state machine: it reads no clock, makes no system call and knows no process id. The supervisor tells it
//! the facts it has with [`handle`](Policy::handle) and performs what [`poll`](Policy::poll) returns, until that is
//! `None`; then it waits for the next fact, and no longer than [`poll_timeout`](Policy::poll_timeout). A call too many
//! does no harm, and a fact about a process that is not alive changes nothing.
//!
//! Each slot keeps one task id filled. A fact marks its slot dirty; `poll` settles dirty slots, so nothing scans all
//! slots for one event. A deadline that is due marks its slot dirty, too, or moves the pool on.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use crate::grammar::Backoff;

/// A worker that lived this long is forgiven its own end and its predecessors'.
const STABLE: Duration = Duration::from_secs(10);
/// A refused fork is not tried again sooner, whatever the backoff.
const FORK_RETRY: Duration = Duration::from_millis(100);
/// A process that SIGKILL has not ended by then is left behind.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Time since the supervisor started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Duration);

impl Time {
    pub(crate) fn after(self, delay: Duration) -> Time {
        Time(self.0.saturating_add(delay))
    }

    pub(crate) fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// One fork for one task id; never used again, as a process id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcId {
    task_id: usize,
    fork: u64,
}

impl ProcId {
    pub(crate) fn task_id(self) -> usize {
        self.task_id
    }
}

/// What the policy goes by.
pub(crate) struct Rules {
    pub(crate) workers: usize,
    pub(crate) max_restarts: Option<usize>,
    pub(crate) backoff: Backoff,
    pub(crate) graceful_timeout: Duration,
    pub(crate) jitter_seed: u64,
}

/// A fact.
#[derive(Debug)]
pub(crate) enum Event {
    /// The answer to [`Action::Fork`]: the worker runs.
    Forked(ProcId),
    /// The answer to [`Action::Fork`]: the system refused.
    ForkFailed(ProcId, io::Error),
    /// The answer to [`Action::Fork`]: it would be unsafe, for this reason.
    ForkUnsafe(ProcId, String),
    /// A worker's process is gone.
    Ended(ProcId, Status),
    /// Somebody wants something, and who.
    Ask(Ask, String),
    /// Time has passed.
    Tick,
}

/// What the supervisor is asked for from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A graceful stop; asked for again, an immediate one.
    Stop,
    /// An immediate stop.
    StopNow,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(i32),
    Killed { signal: i32, dumped_core: bool },
}

/// What the supervisor is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Start a worker, whose task id was started so many times before; to be answered before any other fact.
    Fork {
        proc: ProcId,
        restarts: usize,
    },
    Signal(ProcId, Signal),
    /// The pool is stopping: new connections are to be refused from here on.
    CloseListeners,
    Tell(Notice),
    /// All is over.
    Exit(Exit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To the worker.
    Terminate,
    /// To the worker and the processes it made.
    Kill,
}

/// Why the supervisor exits.
#[derive(Debug)]
pub(crate) enum Exit {
    /// All workers ended normally.
    Finished,
    /// As asked, with so many alive when it came to SIGKILL.
    Stopped {
        by: String,
        killed: usize,
    },
    GaveUp {
        task_id: usize,
        max_restarts: usize,
    },
    CannotFork(io::Error),
    Unsafe(String),
    /// These are left behind, whatever the stop was for.
    Unkillable(Vec<ProcId>),
}

/// What happened, for whoever reads the log.
#[derive(Debug)]
pub(crate) enum Notice {
    Started { worker: ProcId, restarts: usize },
    Finished { worker: ProcId, up: Duration, left: usize },
    Restarting { worker: ProcId, status: Status, up: Duration, delay: Duration, budget: Budget },
    GivingUp { worker: ProcId, status: Status, up: Duration, max_restarts: usize },
    ForkFailed { task_id: usize, error: io::Error, delay: Duration, budget: Budget },
    ForkFailedTooOften { task_id: usize, error: io::Error, max_restarts: usize },
    Stopping { by: Option<String>, alive: usize, graceful_timeout: Duration },
    AlreadyStopping { by: String },
    Stopped { worker: ProcId, status: Status, up: Duration },
    Killing { alive: usize, why: KillReason },
}

/// How many restarts were used, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) used: usize,
    pub(crate) max_restarts: Option<usize>,
}

#[derive(Debug)]
pub(crate) enum KillReason {
    GracefulTimeout(Duration),
    Asked(String),
}

pub(crate) struct Policy {
    rules: Rules,
    now: Time,
    phase: Phase,
    slots: Vec<Slot>,
    alive: usize,
    finished: usize,
    restarts: usize,
    dirty: VecDeque<usize>,
    actions: VecDeque<Action>,
    deadlines: BTreeSet<(Time, Deadline)>,
    jitter: Jitter,
}

#[derive(Debug)]
enum Phase {
    Running,
    Stopping(Stopping),
    Done,
}

#[derive(Debug)]
struct Stopping {
    exit: Exit,
    /// Somebody asked for it, and asking again makes it immediate.
    asked: bool,
    /// SIGKILL was sent.
    immediate: bool,
}

/// The place of one task id.
#[derive(Default)]
struct Slot {
    current: Option<Proc>,
    forks: u64,
    starts: usize,
    /// Replacements in a row that ended within [`STABLE`], or could not be forked: doublings of the backoff, plus one.
    quick_ends: u32,
    /// Not to be started before.
    start_at: Option<Time>,
    finished: bool,
}

struct Proc {
    id: ProcId,
    born: Time,
    state: ProcState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ProcState {
    Forking,
    Running,
    /// Told to end, gracefully.
    Ending,
    Killed,
}

impl ProcState {
    fn is_forking(self) -> bool {
        self == ProcState::Forking
    }

    fn is_made(self) -> bool {
        self != ProcState::Forking
    }
}

/// What a worker's end means.
enum Class {
    Finished,
    Abnormal,
    /// It was told to end.
    Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    /// A slot's backoff is over.
    Start(usize),
    /// The graceful stop was long enough.
    Kill,
    /// What SIGKILL has not ended will not end.
    LeaveBehind,
}

impl Policy {
    pub(crate) fn new(rules: Rules) -> Policy {
        Policy {
            now: Time(Duration::ZERO),
            phase: Phase::Running,
            slots: (0..rules.workers).map(|_| Slot::default()).collect(),
            alive: 0,
            finished: 0,
            restarts: 0,
            dirty: (0..rules.workers).collect(),
            actions: VecDeque::new(),
            deadlines: BTreeSet::new(),
            jitter: Jitter(rules.jitter_seed),
            rules,
        }
    }

    /// Takes a fact in.
    pub(crate) fn handle(&mut self, now: Time, event: Event) {
        if matches!(self.phase, Phase::Done) {
            return;
        }
        self.now = self.now.max(now);
        match event {
            Event::Forked(proc) => self.forked(proc),
            Event::ForkFailed(proc, error) => self.fork_failed(proc, error),
            Event::ForkUnsafe(proc, why) => self.fork_unsafe(proc, why),
            Event::Ended(proc, status) => self.ended(proc, status),
            Event::Ask(ask, by) => self.asked(ask, by),
            Event::Tick => {}
        }
    }

    /// The next thing to do; `None` until the next fact.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if !self.take_due_deadline() {
                let task_id = self.dirty.pop_front()?;
                self.settle(task_id);
            }
        }
    }

    /// When to call `handle` with [`Event::Tick`] if nothing else happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|&(time, _)| time)
    }

    /// Starts a worker where one is missing.
    fn settle(&mut self, task_id: usize) {
        let slot = &mut self.slots[task_id];
        let open = matches!(self.phase, Phase::Running);
        let early = slot.start_at.is_some_and(|start_at| self.now < start_at);
        if !open || early || slot.finished || slot.current.is_some() {
            return;
        }
        let proc = ProcId { task_id, fork: slot.forks };
        slot.forks += 1;
        slot.start_at = None;
        slot.current = Some(Proc { id: proc, born: self.now, state: ProcState::Forking });
        let restarts = slot.starts;
        self.alive += 1;
        self.actions.push_back(Action::Fork { proc, restarts });
    }

    fn forked(&mut self, id: ProcId) {
        let now = self.now;
        let Some(slot) = self.slot_of(id, ProcState::is_forking) else { return };
        slot.current = Some(Proc { id, born: now, state: ProcState::Running });
        let restarts = slot.starts;
        slot.starts += 1;
        self.tell(Notice::Started { worker: id, restarts });
    }

    fn fork_failed(&mut self, id: ProcId, error: io::Error) {
        let Some(task_id) = self.unfork(id) else { return };
        // First starts come before all restarts: the pool is not complete yet.
        if self.slots[task_id].starts == 0 {
            return self.stop(Exit::CannotFork(error), None);
        }
        let budget = match self.spend_restart() {
            Ok(budget) => budget,
            Err(max_restarts) => {
                self.tell(Notice::ForkFailedTooOften { task_id, error, max_restarts });
                return self.stop(Exit::GaveUp { task_id, max_restarts }, None);
            }
        };
        let slot = &mut self.slots[task_id];
        slot.quick_ends = slot.quick_ends.saturating_add(1);
        let delay = self.backoff(task_id).max(FORK_RETRY);
        self.tell(Notice::ForkFailed { task_id, error, delay, budget });
        self.start_after(task_id, delay);
    }

    fn fork_unsafe(&mut self, id: ProcId, why: String) {
        if self.unfork(id).is_some() {
            self.stop(Exit::Unsafe(why), None);
        }
    }

    /// Empties the slot of a process that was never made.
    fn unfork(&mut self, id: ProcId) -> Option<usize> {
        self.slot_of(id, ProcState::is_forking)?.current = None;
        self.alive -= 1;
        Some(id.task_id)
    }

    fn ended(&mut self, worker: ProcId, status: Status) {
        let Some(proc) = self.slot_of(worker, ProcState::is_made).and_then(|slot| slot.current.take()) else { return };
        self.alive -= 1;
        let up = self.now.since(proc.born);
        match classify(proc.state, status) {
            Class::Finished => self.worker_finished(worker, up),
            Class::Abnormal => self.worker_failed(worker, status, up),
            Class::Expected => self.tell(Notice::Stopped { worker, status, up }),
        }
        self.exit_if_over();
    }

    /// The slot that holds this process, if it does and the process is in such a state.
    fn slot_of(&mut self, id: ProcId, expected: fn(ProcState) -> bool) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.task_id)?;
        let holds = slot.current.as_ref().is_some_and(|proc| proc.id == id && expected(proc.state));
        holds.then_some(slot)
    }

    /// The processes there are. This looks at every slot: for what concerns all of them.
    fn procs(&mut self) -> impl Iterator<Item = &mut Proc> {
        self.slots.iter_mut().filter_map(|slot| slot.current.as_mut())
    }

    fn worker_finished(&mut self, worker: ProcId, up: Duration) {
        self.slots[worker.task_id].finished = true;
        self.finished += 1;
        self.tell(Notice::Finished { worker, up, left: self.slots.len() - self.finished });
    }

    fn worker_failed(&mut self, worker: ProcId, status: Status, up: Duration) {
        let task_id = worker.task_id;
        let slot = &mut self.slots[task_id];
        let is_replacement = slot.starts > 1;
        if up >= STABLE {
            slot.quick_ends = 0;
        } else if is_replacement {
            slot.quick_ends = slot.quick_ends.saturating_add(1);
        }
        let budget = match self.spend_restart() {
            Ok(budget) => budget,
            Err(max_restarts) => {
                self.tell(Notice::GivingUp { worker, status, up, max_restarts });
                return self.stop(Exit::GaveUp { task_id, max_restarts }, None);
            }
        };
        let delay = self.backoff(task_id);
        self.tell(Notice::Restarting { worker, status, up, delay, budget });
        self.start_after(task_id, delay);
    }

    /// Fails when all restarts are used, and says how many they were.
    fn spend_restart(&mut self) -> Result<Budget, usize> {
        match self.rules.max_restarts {
            Some(max_restarts) if self.restarts >= max_restarts => Err(max_restarts),
            max_restarts => {
                self.restarts += 1;
                Ok(Budget { used: self.restarts, max_restarts })
            }
        }
    }

    /// How long the next start of this slot waits: not at all at first, then the first delay, doubling; each with up
    /// to a quarter more at random. The doubling ends where that quarter just fits below the longest, so that slots
    /// that fail together stay apart there, too.
    fn backoff(&mut self, task_id: usize) -> Duration {
        let Some(doublings) = self.slots[task_id].quick_ends.checked_sub(1) else { return Duration::ZERO };
        let Backoff { first, longest } = self.rules.backoff;
        let delay = first.saturating_mul(2u32.saturating_pow(doublings)).min(longest / 5 * 4).max(first);
        delay + self.jitter.up_to((delay / 4).min(longest.saturating_sub(delay)))
    }

    fn start_after(&mut self, task_id: usize, delay: Duration) {
        if delay.is_zero() {
            self.dirty.push_back(task_id);
        } else {
            let start_at = self.now.after(delay);
            self.slots[task_id].start_at = Some(start_at);
            self.deadlines.insert((start_at, Deadline::Start(task_id)));
        }
    }

    fn asked(&mut self, ask: Ask, by: String) {
        match (ask, &mut self.phase) {
            (Ask::Stop, Phase::Running) => {
                self.stop(Exit::Stopped { by: by.clone(), killed: 0 }, Some(by));
            }
            (Ask::StopNow, Phase::Running) => {
                self.close(Exit::Stopped { by: by.clone(), killed: 0 });
                self.kill_all(KillReason::Asked(by));
            }
            // Who asks for a stop that has begun without being asked for gets it, and no other.
            (Ask::Stop, Phase::Stopping(stopping)) if !stopping.asked => {
                stopping.asked = true;
                self.tell(Notice::AlreadyStopping { by });
            }
            (_, Phase::Stopping(_)) => self.kill_all(KillReason::Asked(by)),
            (_, Phase::Done) => {}
        }
    }

    /// Begins a graceful stop.
    fn stop(&mut self, exit: Exit, by: Option<String>) {
        self.close(exit);
        let graceful_timeout = self.rules.graceful_timeout;
        self.deadlines.insert((self.now.after(graceful_timeout), Deadline::Kill));
        if self.alive > 0 {
            self.tell(Notice::Stopping { by, alive: self.alive, graceful_timeout });
        }
        self.signal_all(ProcState::Ending, Signal::Terminate);
        self.exit_if_over();
    }

    /// Nothing is started from here on. What closes the pool decides the exit status.
    fn close(&mut self, exit: Exit) {
        let asked = matches!(exit, Exit::Stopped { .. });
        self.phase = Phase::Stopping(Stopping { exit, asked, immediate: false });
        self.deadlines.clear();
        self.actions.push_back(Action::CloseListeners);
    }

    /// Turns a stop into an immediate one.
    fn kill_all(&mut self, why: KillReason) {
        let Phase::Stopping(stopping) = &mut self.phase else { return };
        if std::mem::replace(&mut stopping.immediate, true) {
            return;
        }
        let alive = self.alive;
        if let Exit::Stopped { killed, .. } = &mut stopping.exit {
            *killed = alive;
        }
        self.deadlines.clear();
        self.deadlines.insert((self.now.after(KILL_TIMEOUT), Deadline::LeaveBehind));
        if alive > 0 {
            self.tell(Notice::Killing { alive, why });
        }
        self.signal_all(ProcState::Killed, Signal::Kill);
        self.exit_if_over();
    }

    fn signal_all(&mut self, state: ProcState, signal: Signal) {
        let told = self.procs().map(|proc| {
            proc.state = state;
            Action::Signal(proc.id, signal)
        });
        let told: Vec<Action> = told.collect();
        self.actions.extend(told);
    }

    fn exit_if_over(&mut self) {
        let over = match &self.phase {
            Phase::Running => self.finished == self.slots.len(),
            Phase::Stopping(_) => self.alive == 0,
            Phase::Done => false,
        };
        if over {
            self.exit();
        }
    }

    fn exit(&mut self) {
        let exit = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Stopping(_) if self.alive > 0 => Exit::Unkillable(self.procs().map(|proc| proc.id).collect()),
            Phase::Stopping(stopping) => stopping.exit,
            _ => Exit::Finished,
        };
        self.deadlines.clear();
        self.actions.push_back(Action::Exit(exit));
    }

    /// In `poll`, when the facts are in: a process that has ended by now was not too late.
    fn take_due_deadline(&mut self) -> bool {
        let Some(&(time, deadline)) = self.deadlines.first() else { return false };
        if self.now < time {
            return false;
        }
        self.deadlines.pop_first();
        match deadline {
            Deadline::Start(task_id) => self.dirty.push_back(task_id),
            Deadline::Kill => self.kill_all(KillReason::GracefulTimeout(self.rules.graceful_timeout)),
            Deadline::LeaveBehind => self.exit(),
        }
        true
    }

    fn tell(&mut self, notice: Notice) {
        self.actions.push_back(Action::Tell(notice));
    }
}

/// The only place that decides what a worker's end means.
fn classify(state: ProcState, status: Status) -> Class {
    match (state, status) {
        (ProcState::Ending | ProcState::Killed, _) => Class::Expected,
        (_, Status::Exited(0)) => Class::Finished,
        _ => Class::Abnormal,
    }
}

/// SplitMix64: small, seeded, and no secret depends on it.
struct Jitter(u64);

impl Jitter {
    fn up_to(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(bits % most.saturating_add(1))
    }
}

#[cfg(test)]
mod tests;
