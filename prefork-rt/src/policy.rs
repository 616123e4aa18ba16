//! Which workers are started, signalled, replaced and given up on, and when.
//!
//! This is a pure state machine: it reads no clock, makes no system call and knows no process id. The supervisor tells
//! it facts with [`handle`](Policy::handle) and performs what [`poll`](Policy::poll) returns until that is `None`. Then
//! the supervisor waits for the next fact, but not longer than [`poll_timeout`](Policy::poll_timeout). A call too many
//! does no harm, and a fact about a process that is not alive changes nothing.
//!
//! Each slot keeps one task id filled. A fact marks its slot dirty, and `poll` fills dirty slots, so nothing scans all
//! slots for one event. A deadline that is due marks its slot dirty, too, or moves a process or the pool on.

mod alarms;
mod backoff;
mod budget;
mod contract;
mod deadlines;
mod ends;
mod headcount;
mod hold;
mod in_progress;
mod intake;
mod kill;
mod notice;
mod queue;
mod refusal;
mod scale;
mod slot;
mod snapshot;
mod stand_still;
mod start;
mod state;
mod stop;
mod turn;
mod upgrade;
mod watch;

use std::time::Duration;

use backoff::Jitter;
use budget::Budget;
use deadlines::{Deadline, Deadlines};
use headcount::Headcount;
use queue::Queue;
use refusal::Refusals;
use slot::{Proc, ProcState, Slot, Sockets};
use stand_still::Watched;
use turn::Turns;
use upgrade::Upgrade;

use crate::sys::{Uncopied, UncopiedVec};

pub(crate) use budget::{Share, Spent};
pub(crate) use contract::{
    Action, Ask, Event, Exit, Growth, Hold, Intake, Killer, ProcId, Readiness, Reported, Rules, Scope, Signal, Status,
    Time, View,
};
pub(crate) use ends::{Failure, Neutral};
pub(crate) use notice::{GiveUp, KillReason, Notice, TurnFailure};
pub(crate) use snapshot::Snapshot;
pub use state::State;
pub(crate) use turn::Recycle;
pub(crate) use upgrade::Succession;

pub(crate) struct Policy {
    rules: Rules,
    now: Time,
    phase: Phase,
    /// One for every task id that there ever was. The slots from `size` on are not wanted any more.
    slots: UncopiedVec<Slot>,
    size: usize,
    alive: usize,
    headcount: Headcount,
    /// How many slots that are not wanted any more still serve the connections in their queues.
    draining: usize,
    /// A worker has lived for a moment, or a notice reported that none has.
    booted: bool,
    /// When a worker last ended that had been ready long enough to prove that the service works.
    proved_at: Option<Time>,
    forks: u64,
    budget: Budget,
    /// The spell in which the system refuses forks, if it does.
    refusals: Option<Refusals>,
    turns: Turns,
    upgrade: Option<Upgrade>,
    /// Another upgrade was asked for meanwhile, by this sender.
    next_upgrade: Option<String>,
    /// The previous binary was asked for a reload by this sender, and owes it if it comes back.
    owed_reload: Option<String>,
    /// How many workers the options asked for that last set the size.
    planned: usize,
    dirty: Queue<usize>,
    /// Slots whose intake may have to change.
    unsteered: Vec<usize>,
    /// Slots whose published row is out of date.
    changed: Queue<usize>,
    actions: Queue<Action>,
    deadlines: Deadlines,
    watched: Watched,
    jitter: Jitter,
}

#[derive(Debug)]
enum Phase {
    Running,
    /// A stop was asked for, and begins when `drain_delay` is over. The pool serves on until then.
    StopDelayed(StopDelayed),
    Stopping(Stopping),
    Done,
}

#[derive(Debug)]
struct StopDelayed {
    /// The sender that asked for it.
    by: String,
    /// It was asked for again, and a notice reported that.
    asked_again: bool,
}

#[derive(Debug)]
struct Stopping {
    exit: Exit,
    /// A sender asked for it, so an interrupt makes it immediate.
    asked: bool,
    /// It was asked for again while it was under way, and a notice reported that.
    asked_again: bool,
    /// SIGKILL was sent.
    immediate: bool,
}

impl Policy {
    /// What grows with the workers takes its room from this memory.
    pub(crate) fn new(rules: Rules, memory: &Uncopied) -> Policy {
        let sockets = if rules.slots_have_sockets { Sockets::Open } else { Sockets::None };
        let mut slots = memory.vec(rules.workers);
        slots.extend((0..rules.workers).map(|_| Slot { sockets, ..Slot::default() }));
        let mut dirty = Queue::new(memory);
        dirty.extend(0..rules.workers);
        Policy {
            now: Time(Duration::ZERO),
            phase: Phase::Running,
            slots,
            size: rules.workers,
            alive: 0,
            headcount: Headcount::default(),
            draining: 0,
            booted: false,
            proved_at: None,
            forks: 0,
            budget: Budget::new(rules.max_restarts, rules.restart_window, memory),
            refusals: None,
            turns: Turns::default(),
            upgrade: None,
            next_upgrade: None,
            owed_reload: None,
            planned: rules.workers,
            dirty,
            unsteered: Vec::new(),
            changed: Queue::new(memory),
            actions: Queue::new(memory),
            deadlines: Deadlines::new(memory, rules.workers),
            watched: Watched::default(),
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
            Event::Reported(proc, reported) => self.reported(proc, reported),
            Event::Inspected(proc, hold) => self.inspected(proc, hold),
            Event::Measured(proc, bytes) => self.measured(proc, bytes),
            Event::Ended(proc, status) => self.ended(proc, status),
            Event::SocketsOpen(task_id) => self.sockets_open(task_id),
            Event::SocketsRefused(task_id, error) => self.sockets_refused(task_id, error),
            Event::Queue { task_id, waiting } => self.queue_inspected(task_id, waiting),
            Event::Ask(ask, by) => self.asked(ask, by),
            Event::Rehearsed(result) => self.rehearsed(result),
            Event::NotReplaced(why) => self.not_replaced(why),
            Event::Tick => {}
        }
    }

    /// A notice that comes before any other action, if there is one.
    pub(crate) fn take_notice(&mut self) -> Option<Notice> {
        let Some(Action::Tell(_)) = self.actions.front() else { return None };
        match self.actions.pop_front() {
            Some(Action::Tell(notice)) => Some(notice),
            Some(_) | None => None,
        }
    }

    /// The next action if it is a signal to a process.
    pub(crate) fn take_signal(&mut self) -> Option<(ProcId, Signal)> {
        let Some(Action::Signal(..)) = self.actions.front() else { return None };
        match self.actions.pop_front() {
            Some(Action::Signal(proc, signal)) => Some((proc, signal)),
            Some(_) | None => None,
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
            if let Some(task_id) = self.dirty.pop_front() {
                self.fill(task_id);
                continue;
            }
            // Only now: a slot that has a worker again at once was never without one.
            match self.unsteered.pop() {
                Some(task_id) => self.update_intake(task_id),
                // Where no turn begins, there can be a notice of that.
                None if self.go_on_with_upgrade() || self.begin_turn() || !self.actions.is_empty() => {}
                None => return None,
            }
        }
    }

    /// When to call `handle` with [`Event::Tick`] if nothing else happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// A slot that has changed since it was last published, if any, and what to publish.
    pub(crate) fn take_changed(&mut self) -> Option<(usize, View)> {
        let task_id = self.changed.pop_front()?;
        let slot = &self.slots[task_id];
        let state = match slot.current.as_ref().map(|proc| proc.state) {
            Some(ProcState::Forking | ProcState::Starting) => State::Starting,
            Some(ProcState::Ready) => State::Ready,
            Some(ProcState::Ending(_) | ProcState::Killed(_)) => State::Stopping,
            None if slot.finished || !self.serves() => State::Finished,
            None => State::Waiting,
        };
        let proc = slot.current.as_ref().map(|proc| proc.id);
        Some((task_id, View { state, proc, restarts: slot.starts.saturating_sub(1) }))
    }

    /// How many workers are wanted.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// How many of the wanted workers are ready.
    pub(crate) fn ready(&self) -> usize {
        self.headcount.ready()
    }

    /// Whether a worker is ready or will be, or the pool is stopping.
    pub(crate) fn has_prospects(&self) -> bool {
        let wanted = self.slots.get(..self.size).unwrap_or(&self.slots);
        !matches!(self.phase, Phase::Running) || wanted.iter().any(Slot::has_prospects)
    }

    /// How much of the budget is used.
    pub(crate) fn restarts(&mut self) -> usize {
        self.budget.used(self.now)
    }

    fn asked(&mut self, ask: Ask, by: String) {
        match (&mut self.phase, ask) {
            (Phase::Running, Ask::Stop | Ask::Interrupt) if !self.rules.drain_delay.is_zero() => self.delay_stop(by),
            // Ctrl-C is typed at a terminal, and a hang-up is the end of one: no load balancer has to notice.
            (Phase::Running, Ask::Stop | Ask::Interrupt | Ask::CtrlC | Ask::HangUp) => {
                self.stop(Exit::Stopped { by: by.clone(), killed: 0 }, Some(by));
            }
            (Phase::Running, Ask::StopNow) | (Phase::StopDelayed(_), Ask::StopNow | Ask::Interrupt | Ask::CtrlC) => {
                self.close(Exit::Stopped { by: by.clone(), killed: 0 });
                self.kill_all(KillReason::Asked(by));
            }
            (Phase::Running, Ask::Reload) => self.ask_reload(by),
            (Phase::Running, Ask::More) => self.add_worker(by),
            (Phase::Running, Ask::Fewer) => self.remove_worker(by),
            (Phase::Running, Ask::Upgrade) => self.ask_upgrade(by),
            (Phase::StopDelayed(_) | Phase::Stopping(_), Ask::HangUp) | (Phase::Done, _) => {}
            (Phase::StopDelayed(delayed), Ask::Stop) if !delayed.asked_again => self.already_stopping(by),
            // This stop began without being asked for. The sender gets it, and no other one.
            (Phase::Stopping(stopping), Ask::Interrupt | Ask::CtrlC) if !stopping.asked => self.already_stopping(by),
            (Phase::Stopping(stopping), Ask::Stop) if !stopping.asked_again => self.already_stopping(by),
            // It changes nothing, and a notice has reported it.
            (Phase::StopDelayed(_) | Phase::Stopping(_), Ask::Stop) => {}
            (Phase::Stopping(_), Ask::Interrupt | Ask::CtrlC | Ask::StopNow) => self.kill_all(KillReason::Asked(by)),
            (Phase::StopDelayed(_) | Phase::Stopping(_), Ask::Reload | Ask::More | Ask::Fewer | Ask::Upgrade) => {
                self.tell(Notice::Ignored { by })
            }
        }
    }

    /// Whether the pool keeps its slots filled: it does not stop, or not yet.
    fn serves(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::StopDelayed(_))
    }

    /// In `poll`, after all facts: a process that has ended by now was not too late.
    fn take_due_deadline(&mut self) -> bool {
        let Some(time) = self.deadlines.next().filter(|&time| time <= self.now) else { return false };
        self.was_late(self.now.since(time));
        // Intervals may have begun anew, so that nothing is due any more.
        match self.deadlines.take_due(self.now) {
            Some(Deadline::Start(task_id)) => self.dirty.push_back(task_id),
            Some(Deadline::Queue(task_id)) => self.queue_is_due(task_id),
            Some(Deadline::Proc { id, alarm }) => self.alarm(id, alarm),
            Some(Deadline::Stop) => self.stop_is_due(),
            Some(Deadline::Kill) => self.kill_all(KillReason::GracefulTimeout(self.rules.graceful_timeout)),
            Some(Deadline::LeaveBehind) => self.exit(),
            Some(Deadline::Rehearsal) => self.rehearsal_is_late(),
            Some(Deadline::Awake) => self.moment_is_due(),
            None => {}
        }
        true
    }

    fn proc(&mut self, id: ProcId) -> Option<&mut Proc> {
        self.slots.get_mut(id.task_id)?.proc(id)
    }

    /// The process, if it was made.
    fn made(&mut self, id: ProcId) -> Option<&mut Proc> {
        self.proc(id).filter(|proc| proc.state != ProcState::Forking)
    }

    /// The worker's process, if it runs and was not told to end.
    fn working(&mut self, id: ProcId) -> Option<&mut Proc> {
        self.proc(id).filter(|proc| proc.is_working())
    }

    /// The ids of all processes for which this holds. This scans every slot, so it is only for what concerns all of
    /// them.
    fn ids(&self, is_meant: &dyn Fn(&Proc) -> bool) -> Vec<ProcId> {
        let mut ids = Vec::new();
        for slot in self.slots.iter() {
            ids.extend(slot.ids(is_meant));
        }
        ids
    }

    /// The slot has changed: its row, its standing and perhaps its intake.
    fn touched(&mut self, task_id: usize) {
        self.changed.push_back(task_id);
        if self.rules.slots_have_sockets {
            self.unsteered.push(task_id);
        }
        self.count(task_id);
        if task_id < self.size {
            self.tell_if_ready();
        }
    }

    fn tell(&mut self, notice: Notice) {
        self.actions.push_back(Action::Tell(notice));
    }
}

#[cfg(test)]
mod tests;
