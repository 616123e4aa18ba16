//! Who is started, signalled, replaced and given up on, and when.
//!
//! A pure state machine: it reads no clock, makes no system call and knows no process id. The supervisor tells it
//! the facts it has with [`handle`](Policy::handle) and performs what [`poll`](Policy::poll) returns, until that is
//! `None`; then it waits for the next fact, and no longer than [`poll_timeout`](Policy::poll_timeout). A call too many
//! does no harm, and a fact about a process that is not alive changes nothing.
//!
//! Each slot keeps one task id filled. A fact marks its slot dirty; `poll` settles dirty slots, so nothing scans all
//! slots for one event. A deadline that is due marks its slot dirty, too, or moves a process or the pool on.

mod backoff;
mod budget;
mod notice;
mod slot;
mod turn;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use crate::grammar::{Backoff, Reload, Restart};
use crate::oom::Growth;
use crate::scoreboard::{Said, State};
use backoff::Jitter;
use budget::Budget;
use slot::{Alarm, Class, Proc, ProcState, Slot, Why, classify};
use turn::Turns;

pub(crate) use budget::{Share, Spent};
pub(crate) use notice::{GiveUp, KillReason, Notice, TurnFailure};
pub(crate) use slot::{Failure, Neutral};
pub(crate) use turn::Recycle;

/// A worker that lived this long is forgiven its own end and its predecessors'.
const STABLE: Duration = Duration::from_secs(10);
/// Where readiness is not announced, a worker that lived this long has booted.
const BOOT: Duration = Duration::from_secs(1);
/// So many failures to boot in a row are no accident.
const BOOT_FAILURES: u32 = 2;
/// A refused fork is not tried again sooner, whatever the backoff.
const FORK_RETRY: Duration = Duration::from_millis(100);
/// A process that SIGKILL has not ended by then is left behind.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// From SIGABRT to SIGKILL.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the memory of a worker is measured.
const WEIGH_EVERY: Duration = Duration::from_secs(10);
/// A supervisor that is later than this, and than a quarter of the heartbeat's timeout, was itself kept from running.
const LATE: Duration = Duration::from_millis(100);

/// Time since the supervisor started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Duration);

impl Time {
    pub(crate) fn after(self, delay: Duration) -> Time {
        Time(self.0.saturating_add(delay))
    }

    pub(crate) fn before(self, age: Duration) -> Time {
        Time(self.0.saturating_sub(age))
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

    /// Which of all forks it is.
    pub(crate) fn fork(self) -> u64 {
        self.fork
    }
}

/// What the policy goes by.
pub(crate) struct Rules {
    pub(crate) workers: usize,
    /// There cannot be more workers than so many.
    pub(crate) most_workers: usize,
    pub(crate) max_restarts: Option<usize>,
    pub(crate) restart_window: Option<Duration>,
    pub(crate) restart: Restart,
    pub(crate) backoff: Backoff,
    pub(crate) graceful_timeout: Duration,
    pub(crate) readiness: Readiness,
    pub(crate) heartbeat_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_memory: Option<u64>,
    pub(crate) reload: Reload,
    pub(crate) jitter_seed: u64,
}

/// When a worker counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// As soon as it is there: its body starts at once.
    AtFork,
    /// When its body starts, which it says: hooks run before.
    AtBody,
    /// When it says so, within this time.
    Announced(Duration),
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
    /// What a worker has said of itself so far: when it rings, before its end, and as the answer to [`Action::Look`].
    Said(ProcId, Said),
    /// The answer to [`Action::Weigh`]: so many bytes are its own.
    Weighed(ProcId, u64),
    /// A worker's process is gone.
    Ended(ProcId, Status),
    /// Somebody wants something, and who.
    Ask(Ask, String),
    /// The supervisor goes on after it was stopped, and so do its workers.
    Continued,
    /// Time has passed.
    Tick,
}

/// What the supervisor is asked for from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A graceful stop; asked for again, an immediate one.
    Stop,
    /// A graceful stop, because the terminal is gone, which may be said more than once.
    HangUp,
    /// An immediate stop.
    StopNow,
    Reload,
    /// One worker more.
    More,
    /// One worker fewer.
    Fewer,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(i32),
    Killed {
        signal: i32,
        dumped_core: bool,
    },
    /// By SIGKILL, which the supervisor did not send.
    KilledByOthers(Killer),
}

/// Who sent a SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killer {
    /// The kernel, as it seems, for want of memory: this counter grew.
    OutOfMemory(Growth),
    Unknown,
}

/// What the supervisor is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Start a worker, whose task id was started so many times before, as one of so many; to be answered before any
    /// other fact.
    Fork {
        proc: ProcId,
        restarts: usize,
        workers: usize,
    },
    Signal(ProcId, Signal),
    /// See what a worker has said of itself; to be answered before any other fact.
    Look(ProcId),
    /// Measure a worker's memory.
    Weigh(ProcId),
    /// The pool is stopping: new connections are to be refused from here on.
    CloseListeners,
    Tell(Notice),
    /// All is over.
    Exit(Exit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To the worker: end.
    Terminate,
    /// To the worker: leave a trace of what you were doing, and end.
    Abort,
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
        reason: GiveUp,
    },
    CannotFork(io::Error),
    Unsafe(String),
    /// These are left behind, whatever the stop was for.
    Unkillable(Vec<ProcId>),
}

/// What is known of a slot, for whoever looks at the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) proc: Option<ProcId>,
    pub(crate) restarts: usize,
}

pub(crate) struct Policy {
    rules: Rules,
    now: Time,
    phase: Phase,
    /// Of every task id that there ever was; those from `size` on are not wanted any more.
    slots: Vec<Slot>,
    size: usize,
    alive: usize,
    /// How many of those wanted have finished, and how many are ready or have finished.
    finished: usize,
    ready: usize,
    was_ready: bool,
    /// A worker has lived for a moment, or that none did was said.
    booted: bool,
    forks: u64,
    budget: Budget,
    turns: Turns,
    dirty: VecDeque<usize>,
    /// Slots of which there is news for whoever looks at the pool.
    changed: Vec<usize>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    /// A slot's backoff is over.
    Start(usize),
    Proc(ProcId, Alarm),
    /// The graceful stop was long enough.
    Kill,
    /// What SIGKILL has not ended will not end.
    LeaveBehind,
}

/// Which place of its slot a process is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Current,
    Beside,
}

impl Policy {
    pub(crate) fn new(rules: Rules) -> Policy {
        Policy {
            now: Time(Duration::ZERO),
            phase: Phase::Running,
            slots: (0..rules.workers).map(|_| Slot::default()).collect(),
            size: rules.workers,
            alive: 0,
            finished: 0,
            ready: 0,
            was_ready: false,
            booted: false,
            forks: 0,
            budget: Budget::new(rules.max_restarts, rules.restart_window),
            turns: Turns::default(),
            dirty: (0..rules.workers).collect(),
            changed: Vec::new(),
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
            Event::Said(proc, said) => self.said(proc, said),
            Event::Weighed(proc, bytes) => self.weighed(proc, bytes),
            Event::Ended(proc, status) => self.ended(proc, status),
            Event::Ask(ask, by) => self.asked(ask, by),
            Event::Continued => self.begin_silence_anew(),
            Event::Tick => {}
        }
    }

    /// The next thing to do; `None` until the next fact.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if self.take_due_deadline() {
                continue;
            }
            match self.dirty.pop_front() {
                Some(task_id) => self.settle(task_id),
                // That there is no turn can be news, too.
                None if self.begin_turn() || !self.actions.is_empty() => {}
                None => return None,
            }
        }
    }

    /// When to call `handle` with [`Event::Tick`] if nothing else happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|&(time, _)| time)
    }

    /// A slot of which there is news, if any, and the news.
    pub(crate) fn take_changed(&mut self) -> Option<(usize, View)> {
        let task_id = self.changed.pop()?;
        let slot = &self.slots[task_id];
        let state = match slot.current.as_ref().map(|proc| proc.state) {
            Some(ProcState::Forking | ProcState::Starting) => State::Starting,
            Some(ProcState::Ready) => State::Ready,
            Some(ProcState::Ending(_) | ProcState::Killed(_)) => State::Stopping,
            None if slot.finished || !matches!(self.phase, Phase::Running) => State::Finished,
            None => State::Waiting,
        };
        let proc = slot.current.as_ref().map(|proc| proc.id);
        Some((task_id, View { state, proc, restarts: slot.starts.saturating_sub(1) }))
    }

    /// How many workers there are to be.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// How much of the budget is used.
    pub(crate) fn restarts(&mut self) -> usize {
        self.budget.used(self.now)
    }

    /// Starts a worker where one is missing.
    fn settle(&mut self, task_id: usize) {
        let slot = &self.slots[task_id];
        let open = matches!(self.phase, Phase::Running) && task_id < self.size;
        let early = slot.start_at.is_some_and(|start_at| self.now < start_at);
        // A surplus worker that still drains is waited for.
        let is_free = slot.current.is_none() && (slot.beside.is_none() || self.has_turn(task_id));
        if open && !early && !slot.finished && is_free {
            self.fork(task_id, Place::Current);
        }
    }

    fn fork(&mut self, task_id: usize, place: Place) -> ProcId {
        let id = ProcId { task_id, fork: self.forks };
        self.forks += 1;
        self.alive += 1;
        let slot = &mut self.slots[task_id];
        let proc = Some(Proc::forking(id, self.now));
        match place {
            Place::Current => {
                slot.current = proc;
                slot.start_at = None;
            }
            Place::Beside => slot.beside = proc,
        }
        let (restarts, workers) = (slot.starts, self.size);
        self.turn_forks(id);
        // Before what else is to be done, so that no fact comes between the decision and the fork.
        self.actions.push_front(Action::Fork { proc: id, restarts, workers });
        id
    }

    fn forked(&mut self, id: ProcId) {
        let now = self.now;
        let Some(proc) = self.proc(id).filter(|proc| proc.state == ProcState::Forking) else { return };
        proc.state = ProcState::Starting;
        proc.born = now;
        let replaces = self.is_incoming(id).then(|| self.slots[id.task_id].current.as_ref().map(|old| old.id));
        let slot = &mut self.slots[id.task_id];
        let restarts = slot.starts;
        slot.starts += 1;
        self.tell(Notice::Started { worker: id, restarts, replaces: replaces.flatten() });
        if let Some(max_lifetime) = self.rules.max_lifetime {
            let lifetime = backoff::lifetime(max_lifetime, &mut self.jitter);
            self.arm(id, Alarm::Retire, lifetime);
        }
        if self.rules.max_memory.is_some() {
            self.arm(id, Alarm::Weigh, WEIGH_EVERY);
        }
        match self.rules.readiness {
            Readiness::AtFork => self.became_ready(id),
            Readiness::AtBody => self.touched(id.task_id),
            Readiness::Announced(ready_timeout) => {
                self.arm(id, Alarm::Ready, ready_timeout);
                self.touched(id.task_id);
            }
        }
    }

    fn fork_failed(&mut self, id: ProcId, error: io::Error) {
        let is_incoming = self.is_incoming(id);
        let Some(task_id) = self.unfork(id) else { return };
        if is_incoming {
            return self.turn_failed(TurnFailure::CannotFork(error));
        }
        // First starts come before all restarts: the pool is not complete yet.
        if self.slots[task_id].starts == 0 && task_id < self.rules.workers {
            return self.stop(Exit::CannotFork(error), None);
        }
        let awaited = self.awaits_ready(id).then(|| copy(&error));
        let spent = match self.budget.spend(self.now, task_id, Failure::CannotFork) {
            Ok(spent) => spent,
            Err(spent) => {
                self.tell(Notice::ForkFailedTooOften { task_id, error, spent });
                self.tell_shares();
                return self.stop(Exit::GaveUp { task_id, reason: GiveUp::Budget(spent) }, None);
            }
        };
        let slot = &mut self.slots[task_id];
        slot.quick_ends = slot.quick_ends.saturating_add(1);
        let delay = self.backoff(task_id).max(FORK_RETRY);
        self.tell(Notice::ForkFailed { task_id, error, delay, spent });
        self.tell_if_low(spent);
        self.start_after(task_id, delay);
        self.touched(task_id);
        if let Some(error) = awaited {
            self.turn_failed(TurnFailure::CannotFork(error));
        }
    }

    fn fork_unsafe(&mut self, id: ProcId, why: String) {
        if self.unfork(id).is_some() {
            self.stop(Exit::Unsafe(why), None);
        }
    }

    /// Empties the place of a process that was never made.
    fn unfork(&mut self, id: ProcId) -> Option<usize> {
        self.proc(id).filter(|proc| proc.state == ProcState::Forking)?;
        self.slots[id.task_id].take(id)?;
        self.alive -= 1;
        Some(id.task_id)
    }

    fn said(&mut self, id: ProcId, said: Said) {
        let now = self.now;
        let Some(proc) = self.made(id) else { return };
        if let Some(age) = said.terminated {
            proc.terminated = Some(now.before(age));
        }
        if let Some(age) = said.beat {
            proc.last_beat = proc.last_beat.max(Some(now.before(age)));
        }
        let looked_at = proc.looked_at.take();
        if said.ready {
            self.became_ready(id);
        }
        if said.recycle {
            self.ask_recycle(id, Recycle::Asked);
        }
        match looked_at {
            Some(Alarm::Ready) => self.judge_readiness(id),
            Some(Alarm::Beat) => self.judge_silence(id),
            _ => self.watch_beats(id),
        }
    }

    fn became_ready(&mut self, id: ProcId) {
        let Some(proc) = self.proc(id).filter(|proc| proc.state == ProcState::Starting) else { return };
        proc.state = ProcState::Ready;
        proc.was_ready = true;
        self.disarm(id, Alarm::Ready);
        if matches!(self.rules.readiness, Readiness::Announced(_)) {
            self.slots[id.task_id].boot_failures = 0;
        }
        self.turn_ready(id);
        self.touched(id.task_id);
    }

    fn judge_readiness(&mut self, id: ProcId) {
        let Readiness::Announced(ready_timeout) = self.rules.readiness else { return };
        if self.proc(id).is_some_and(|proc| proc.state == ProcState::Starting) {
            self.tell(Notice::NotReady { worker: id, ready_timeout });
            self.kill(id, Why::NotReady);
        }
    }

    /// From its first beat on.
    fn watch_beats(&mut self, id: ProcId) {
        let (Some(timeout), now) = (self.rules.heartbeat_timeout, self.now) else { return };
        let Some(proc) = self.proc(id).filter(|proc| proc.is_working()) else { return };
        let is_watched = proc.alarms.iter().any(|&(alarm, _)| alarm == Alarm::Beat);
        if let Some(last_beat) = proc.last_beat.filter(|_| !is_watched) {
            self.arm(id, Alarm::Beat, last_beat.after(timeout).since(now));
        }
    }

    /// The worker was to have beaten by now. One that was silent is looked at once more, in a tenth of the time, for
    /// it may have been kept from running as long as the supervisor was, and have had no chance yet.
    fn judge_silence(&mut self, id: ProcId) {
        let (Some(timeout), now) = (self.rules.heartbeat_timeout, self.now) else { return };
        let Some(proc) = self.proc(id).filter(|proc| proc.is_working()) else { return };
        let silent = proc.last_beat.map_or(Duration::ZERO, |last_beat| now.since(last_beat));
        if silent < timeout {
            proc.was_silent = false;
            self.arm(id, Alarm::Beat, timeout - silent);
        } else if !proc.was_silent {
            proc.was_silent = true;
            self.arm(id, Alarm::Beat, timeout / 10);
        } else {
            self.tell(Notice::Hung { worker: id, silent, kill_after: ABORT_TIMEOUT });
            self.end(id, Why::Hung, Signal::Abort, ABORT_TIMEOUT);
        }
    }

    /// The supervisor was kept from running, so nobody's silence means anything.
    fn begin_silence_anew(&mut self) {
        let Some(timeout) = self.rules.heartbeat_timeout else { return };
        let is_watched = |proc: &&mut Proc| proc.alarms.iter().any(|&(alarm, _)| alarm == Alarm::Beat);
        let watched: Vec<ProcId> = self.procs().filter(is_watched).map(|proc| proc.id).collect();
        for id in watched {
            if let Some(proc) = self.proc(id) {
                proc.was_silent = false;
            }
            self.disarm(id, Alarm::Beat);
            self.arm(id, Alarm::Beat, timeout);
        }
    }

    fn weighed(&mut self, id: ProcId, bytes: u64) {
        if self.rules.max_memory.is_some_and(|max_memory| bytes > max_memory) {
            self.ask_recycle(id, Recycle::Memory(bytes));
        }
    }

    fn ended(&mut self, id: ProcId, status: Status) {
        if self.made(id).is_none() {
            return;
        }
        let (is_incoming, is_awaited) = (self.is_incoming(id), self.awaits_ready(id));
        let Some(proc) = self.slots[id.task_id].take(id) else { return };
        self.alive -= 1;
        for &(alarm, time) in &proc.alarms {
            self.deadlines.remove(&(time, Deadline::Proc(id, alarm)));
        }
        let up = self.now.since(proc.born);
        self.booted |= up >= BOOT;
        let class = classify(&proc, status, self.now, &self.rules);
        let failure = if let Class::Failed(failure) = class { failure } else { Failure::Ended(status) };
        if is_incoming {
            self.turn_failed(TurnFailure::Failed { worker: id, failure, up });
        } else {
            self.take_over(id.task_id);
            match class {
                Class::Finished => self.worker_finished(id, up),
                Class::Failed(failure) => self.worker_failed(&proc, failure, up),
                Class::Neutral(why) => self.worker_ended(&proc, why, up),
                Class::Final => self.give_up(id, failure, up, GiveUp::Final),
                Class::Expected => {
                    self.tell(Notice::Stopped { worker: id, status, up });
                    self.dirty.push_back(id.task_id);
                }
                Class::Replaced => self.tell(Notice::Replaced { worker: id, status, up }),
            }
            self.turn_ended(id);
            if is_awaited && class == Class::Finished {
                self.cancel_turn(id.task_id);
            } else if is_awaited {
                self.turn_failed(TurnFailure::Failed { worker: id, failure, up });
            }
        }
        self.touched(id.task_id);
        self.exit_if_over();
    }

    fn worker_finished(&mut self, worker: ProcId, up: Duration) {
        let slot = &mut self.slots[worker.task_id];
        slot.finished = true;
        let replacement = slot.current.as_ref().map(|proc| proc.id);
        self.finished += 1;
        self.tell(Notice::Finished { worker, up, left: self.size - self.finished });
        // Its work is done, and nobody is to do it again.
        if let Some(replacement) = replacement {
            self.cancel_turn(worker.task_id);
            self.terminate(replacement, Why::Surplus);
        }
    }

    fn worker_ended(&mut self, proc: &Proc, why: Neutral, up: Duration) {
        let task_id = proc.id.task_id;
        self.note_end(task_id, up);
        if why == Neutral::Always && self.cannot_boot(proc, up) {
            return self.give_up(proc.id, Failure::Ended(Status::Exited(0)), up, GiveUp::Boot);
        }
        let delay = self.backoff(task_id);
        self.tell(Notice::StartingAgain { worker: proc.id, why, up, delay });
        self.start_after(task_id, delay);
    }

    fn worker_failed(&mut self, proc: &Proc, failure: Failure, up: Duration) {
        let (worker, task_id) = (proc.id, proc.id.task_id);
        self.note_end(task_id, up);
        let cannot_boot = self.cannot_boot(proc, up);
        let spent = self.budget.spend(self.now, task_id, failure);
        if cannot_boot {
            return self.give_up(worker, failure, up, GiveUp::Boot);
        }
        let spent = match spent {
            Ok(spent) => spent,
            Err(spent) => return self.give_up(worker, failure, up, GiveUp::Budget(spent)),
        };
        let delay = self.backoff(task_id);
        self.tell(Notice::Restarting { worker, failure, up, delay, spent });
        self.tell_if_boot_looks_broken(task_id);
        self.tell_if_low(spent);
        self.start_after(task_id, delay);
    }

    /// Whether this end, before the worker had booted, is proof that the service cannot. Only a worker that announces
    /// its readiness can prove it.
    fn cannot_boot(&mut self, proc: &Proc, up: Duration) -> bool {
        let announced = matches!(self.rules.readiness, Readiness::Announced(_));
        let booted = if announced { proc.was_ready } else { up >= BOOT };
        let slot = &mut self.slots[proc.id.task_id];
        slot.boot_failures = if booted { 0 } else { slot.boot_failures.saturating_add(1) };
        announced && !self.was_ready && slot.boot_failures >= BOOT_FAILURES
    }

    fn tell_if_boot_looks_broken(&mut self, task_id: usize) {
        let announced = matches!(self.rules.readiness, Readiness::Announced(_));
        if announced || self.booted || self.slots[task_id].boot_failures < BOOT_FAILURES {
            return;
        }
        let now = self.now;
        let none_has_booted = self.procs().all(|proc| now.since(proc.born) < BOOT);
        // Known from here on, or said, so this looks at every slot once.
        self.booted = true;
        if none_has_booted {
            self.tell(Notice::BootLooksBroken { task_id });
        }
    }

    fn tell_if_low(&mut self, spent: Spent) {
        if spent.is_low() {
            self.tell(Notice::BudgetLow { spent });
        }
    }

    fn tell_shares(&mut self) {
        for share in self.budget.shares(self.now) {
            self.tell(Notice::Contributed(share));
        }
    }

    fn give_up(&mut self, worker: ProcId, failure: Failure, up: Duration, reason: GiveUp) {
        self.tell(Notice::GivingUp { worker, failure, up, reason });
        if reason != GiveUp::Final {
            self.tell_shares();
        }
        self.stop(Exit::GaveUp { task_id: worker.task_id, reason }, None);
    }

    /// How long the next start of this slot waits: not at all, where its replacement is there already.
    fn backoff(&mut self, task_id: usize) -> Duration {
        let slot = &self.slots[task_id];
        if slot.current.is_some() {
            return Duration::ZERO;
        }
        backoff::delay(self.rules.backoff, slot.quick_ends, &mut self.jitter)
    }

    fn start_after(&mut self, task_id: usize, delay: Duration) {
        self.forget_start(task_id);
        if delay.is_zero() {
            self.dirty.push_back(task_id);
        } else {
            let start_at = self.now.after(delay);
            self.slots[task_id].start_at = Some(start_at);
            self.deadlines.insert((start_at, Deadline::Start(task_id)));
        }
    }

    fn forget_start(&mut self, task_id: usize) {
        if let Some(start_at) = self.slots[task_id].start_at.take() {
            self.deadlines.remove(&(start_at, Deadline::Start(task_id)));
        }
    }

    fn asked(&mut self, ask: Ask, by: String) {
        match (&mut self.phase, ask) {
            (Phase::Running, Ask::Stop | Ask::HangUp) => {
                self.stop(Exit::Stopped { by: by.clone(), killed: 0 }, Some(by));
            }
            (Phase::Running, Ask::StopNow) => {
                self.close(Exit::Stopped { by: by.clone(), killed: 0 });
                self.kill_all(KillReason::Asked(by));
            }
            (Phase::Running, Ask::Reload) => self.ask_reload(by),
            (Phase::Running, Ask::More) => self.add_worker(by),
            (Phase::Running, Ask::Fewer) => self.remove_worker(by),
            (Phase::Stopping(_), Ask::HangUp) | (Phase::Done, _) => {}
            // Who asks for a stop that has begun without being asked for gets it, and no other.
            (Phase::Stopping(stopping), Ask::Stop) if !stopping.asked => {
                stopping.asked = true;
                self.tell(Notice::AlreadyStopping { by });
            }
            (Phase::Stopping(_), Ask::Stop | Ask::StopNow) => self.kill_all(KillReason::Asked(by)),
            (Phase::Stopping(_), Ask::Reload | Ask::More | Ask::Fewer) => self.tell(Notice::Ignored { by }),
        }
    }

    fn add_worker(&mut self, by: String) {
        if self.size >= self.rules.most_workers {
            return self.tell(Notice::NotScaled { by, workers: self.size });
        }
        let task_id = self.size;
        self.size += 1;
        if task_id == self.slots.len() {
            self.slots.push(Slot::default());
        }
        let slot = &mut self.slots[task_id];
        (slot.finished, slot.is_replaced, slot.quick_ends, slot.boot_failures) = (false, false, 0, 0);
        self.tell(Notice::Scaled { by, from: task_id, to: self.size });
        self.dirty.push_back(task_id);
        self.touched(task_id);
    }

    fn remove_worker(&mut self, by: String) {
        if self.size == 1 {
            return self.tell(Notice::NotScaled { by, workers: 1 });
        }
        self.tell(Notice::Scaled { by, from: self.size, to: self.size - 1 });
        let task_id = self.size - 1;
        self.finished -= usize::from(self.slots[task_id].finished);
        self.forget_start(task_id);
        self.cancel_turn(task_id);
        let procs: Vec<ProcId> = self.slots[task_id].procs().map(|proc| proc.id).collect();
        for id in procs {
            self.terminate(id, Why::Surplus);
        }
        // Only now: what is not wanted is not counted among those that are ready.
        self.uncount_ready(task_id);
        self.size = task_id;
        self.touched(task_id);
        self.tell_if_ready();
        self.exit_if_over();
    }

    /// Tells a process to end, in the time that a graceful stop has. One that is ending already only learns why.
    fn terminate(&mut self, id: ProcId, why: Why) {
        let Some(proc) = self.proc(id) else { return };
        match &mut proc.state {
            ProcState::Ending(before) | ProcState::Killed(before) => *before = why,
            _ => self.end(id, why, Signal::Terminate, self.rules.graceful_timeout),
        }
    }

    fn end(&mut self, id: ProcId, why: Why, signal: Signal, timeout: Duration) {
        self.disarm_all(id);
        let Some(proc) = self.proc(id) else { return };
        (proc.state, proc.grace) = (ProcState::Ending(why), timeout);
        self.arm(id, Alarm::Kill, timeout);
        self.actions.push_back(Action::Signal(id, signal));
        self.touched(id.task_id);
    }

    fn kill(&mut self, id: ProcId, why: Why) {
        self.disarm_all(id);
        let Some(proc) = self.proc(id) else { return };
        proc.state = ProcState::Killed(why);
        self.arm(id, Alarm::Overdue, KILL_TIMEOUT);
        self.actions.push_back(Action::Signal(id, Signal::Kill));
        self.touched(id.task_id);
    }

    /// Begins a graceful stop.
    fn stop(&mut self, exit: Exit, by: Option<String>) {
        self.close(exit);
        let graceful_timeout = self.rules.graceful_timeout;
        self.deadlines.insert((self.now.after(graceful_timeout), Deadline::Kill));
        if self.alive > 0 {
            self.tell(Notice::Stopping { by, alive: self.alive, graceful_timeout });
        }
        self.signal_all(Signal::Terminate);
        self.exit_if_over();
    }

    /// Nothing is started from here on. What closes the pool decides the exit status. Who has been told to end before
    /// has no more time for that than he had.
    fn close(&mut self, exit: Exit) {
        let asked = matches!(exit, Exit::Stopped { .. });
        self.phase = Phase::Stopping(Stopping { exit, asked, immediate: false });
        self.forget_turns();
        // Whoever waited to be started is not waiting any more.
        self.changed.extend(0..self.slots.len());
        self.deadlines.retain(|&(_, deadline)| matches!(deadline, Deadline::Proc(_, Alarm::Kill)));
        self.procs().for_each(|proc| proc.alarms.retain(|&(alarm, _)| alarm == Alarm::Kill));
        self.actions.push_back(Action::CloseListeners);
    }

    /// Turns a stop into an immediate one.
    fn kill_all(&mut self, why: KillReason) {
        let to_kill = self.procs().filter(|proc| !matches!(proc.state, ProcState::Killed(_))).count();
        let Phase::Stopping(stopping) = &mut self.phase else { return };
        if std::mem::replace(&mut stopping.immediate, true) {
            return;
        }
        self.count_killed(to_kill);
        self.deadlines.clear();
        self.deadlines.insert((self.now.after(KILL_TIMEOUT), Deadline::LeaveBehind));
        if self.alive > 0 {
            self.tell(Notice::Killing { alive: self.alive, why });
        }
        self.signal_all(Signal::Kill);
        self.exit_if_over();
    }

    fn count_killed(&mut self, more: usize) {
        if let Phase::Stopping(Stopping { exit: Exit::Stopped { killed, .. }, .. }) = &mut self.phase {
            *killed += more;
        }
    }

    /// SIGTERM or SIGKILL for the stop. One that got that, or worse, only learns why.
    fn signal_all(&mut self, signal: Signal) {
        let procs: Vec<ProcId> = self.procs().map(|proc| proc.id).collect();
        for id in procs {
            let Some(proc) = self.proc(id) else { continue };
            match (&mut proc.state, signal) {
                (ProcState::Killed(why), _) | (ProcState::Ending(why), Signal::Terminate) => *why = Why::Stop,
                (state, _) => {
                    let kills = signal == Signal::Kill;
                    *state = if kills { ProcState::Killed(Why::Stop) } else { ProcState::Ending(Why::Stop) };
                    self.actions.push_back(Action::Signal(id, signal));
                }
            }
            self.touched(id.task_id);
        }
    }

    fn exit_if_over(&mut self) {
        let over = match &self.phase {
            Phase::Running => self.finished == self.size && self.alive == 0,
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
            Deadline::Proc(id, alarm) => self.alarm(id, alarm, time),
            Deadline::Kill => self.kill_all(KillReason::GracefulTimeout(self.rules.graceful_timeout)),
            Deadline::LeaveBehind => self.exit(),
        }
        true
    }

    fn alarm(&mut self, id: ProcId, alarm: Alarm, due: Time) {
        let late = self.now.since(due);
        let is_late = |timeout: Duration| late > LATE.max(timeout / 4);
        let Some(proc) = self.proc(id) else { return };
        proc.alarms.retain(|&(kept, _)| kept != alarm);
        match (alarm, self.rules.readiness, self.rules.heartbeat_timeout) {
            // Who was kept from running as long has had no chance.
            (Alarm::Ready, Readiness::Announced(timeout), _) if is_late(timeout) => self.arm(id, alarm, timeout),
            (Alarm::Beat, _, Some(timeout)) if is_late(timeout) => {
                self.arm(id, Alarm::Beat, Duration::ZERO);
                self.begin_silence_anew();
            }
            _ => self.act_on(id, alarm),
        }
    }

    fn act_on(&mut self, id: ProcId, alarm: Alarm) {
        let Some(proc) = self.proc(id) else { return };
        match alarm {
            Alarm::Ready | Alarm::Beat => {
                proc.looked_at = Some(alarm);
                self.actions.push_back(Action::Look(id));
            }
            Alarm::Weigh if proc.recycle.is_some() => {}
            Alarm::Weigh => {
                self.arm(id, Alarm::Weigh, WEIGH_EVERY);
                self.actions.push_back(Action::Weigh(id));
            }
            Alarm::Retire => self.ask_recycle(id, Recycle::Lifetime),
            Alarm::Recycle => self.queue_recycle(id),
            Alarm::Kill => self.kill_late(id),
            Alarm::Overdue => self.tell(Notice::Overdue { worker: id }),
        }
    }

    /// It was told to end, and had its time.
    fn kill_late(&mut self, id: ProcId) {
        let Some(&mut Proc { state: ProcState::Ending(why), grace: after, .. }) = self.proc(id) else { return };
        self.tell(Notice::KillingOne { worker: id, after });
        self.count_killed(1);
        self.kill(id, why);
    }

    fn arm(&mut self, id: ProcId, alarm: Alarm, delay: Duration) {
        let time = self.now.after(delay);
        let Some(proc) = self.proc(id) else { return };
        proc.alarms.push((alarm, time));
        self.deadlines.insert((time, Deadline::Proc(id, alarm)));
    }

    fn disarm(&mut self, id: ProcId, alarm: Alarm) {
        let Some(proc) = self.proc(id) else { return };
        let Some(index) = proc.alarms.iter().position(|&(armed, _)| armed == alarm) else { return };
        let (_, time) = proc.alarms.swap_remove(index);
        self.deadlines.remove(&(time, Deadline::Proc(id, alarm)));
    }

    fn disarm_all(&mut self, id: ProcId) {
        let Some(proc) = self.proc(id) else { return };
        for (alarm, time) in std::mem::take(&mut proc.alarms) {
            self.deadlines.remove(&(time, Deadline::Proc(id, alarm)));
        }
    }

    fn proc(&mut self, id: ProcId) -> Option<&mut Proc> {
        self.slots.get_mut(id.task_id)?.proc(id)
    }

    /// The process, if it was made.
    fn made(&mut self, id: ProcId) -> Option<&mut Proc> {
        self.proc(id).filter(|proc| proc.state != ProcState::Forking)
    }

    /// The processes there are. This looks at every slot: for what concerns all of them.
    fn procs(&mut self) -> impl Iterator<Item = &mut Proc> {
        self.slots.iter_mut().flat_map(Slot::procs)
    }

    /// There is news of this slot.
    fn touched(&mut self, task_id: usize) {
        self.changed.push(task_id);
        if task_id >= self.size {
            return;
        }
        let slot = &mut self.slots[task_id];
        let is_ready = slot.finished || slot.current.as_ref().is_some_and(|proc| proc.state == ProcState::Ready);
        let was_ready = std::mem::replace(&mut slot.counted_ready, is_ready);
        self.ready = self.ready + usize::from(is_ready) - usize::from(was_ready);
        self.tell_if_ready();
    }

    fn tell_if_ready(&mut self) {
        let running = matches!(self.phase, Phase::Running) && self.finished < self.size;
        if running && self.ready == self.size && !std::mem::replace(&mut self.was_ready, true) {
            self.tell(Notice::PoolReady { workers: self.size, took: self.now.since(Time(Duration::ZERO)) });
        }
    }

    fn uncount_ready(&mut self, task_id: usize) {
        self.ready -= usize::from(std::mem::take(&mut self.slots[task_id].counted_ready));
    }

    fn tell(&mut self, notice: Notice) {
        self.actions.push_back(Action::Tell(notice));
    }
}

/// The same error once more, for a second line.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests;
