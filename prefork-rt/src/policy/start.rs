//! Forks: asked for where a worker is missing, made, failed, or unsafe, and when the next one is due.

use std::io;
use std::time::Duration;

use super::backoff;
use super::deadlines::{Alarm, Deadline};
use super::ends::BOOT;
use super::notice::{Notice, TurnFailure};
use super::slot::{Proc, ProcState};
use super::watch::MEASURE_EVERY;
use super::{Action, Exit, Phase, Policy, ProcId, Readiness};

/// Which place of its slot a process is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Current,
    Beside,
}

impl Policy {
    /// Starts a worker where the slot lacks one.
    pub(super) fn fill(&mut self, task_id: usize) {
        let slot = &self.slots[task_id];
        let is_wanted = task_id < self.size || slot.drains.is_some();
        let is_serving = self.serves() && !self.is_going_back();
        let open = is_serving && is_wanted && self.has_sockets(task_id);
        let early = self.deadlines.has(Deadline::Start(task_id));
        // The slot waits for a surplus worker that still drains.
        let is_free = slot.current.is_none() && (slot.beside.is_none() || self.has_turn(task_id));
        if open && !early && !slot.finished && is_free {
            self.fork(task_id, Place::Current);
        }
    }

    pub(super) fn fork(&mut self, task_id: usize, place: Place) -> ProcId {
        let id = ProcId { task_id, fork: self.forks };
        self.forks += 1;
        self.alive += 1;
        let slot = &mut self.slots[task_id];
        let proc = Some(Proc::forking(id, self.now));
        match place {
            Place::Current => slot.current = proc,
            Place::Beside => slot.beside = proc,
        }
        let (restarts, workers) = (slot.starts, self.size);
        self.turn_forks(id);
        // It comes before all other actions, so that no fact comes between the decision and the fork.
        self.actions.push_front(Action::Fork { proc: id, restarts, workers });
        id
    }

    pub(super) fn forked(&mut self, id: ProcId) {
        let (now, says_ready) = (self.now, self.rules.readiness != Readiness::AtFork);
        let Some(proc) = self.proc(id).filter(|proc| proc.state == ProcState::Forking) else { return };
        (proc.state, proc.born, proc.says_ready) = (ProcState::Starting, now, says_ready);
        let replaces = self.is_incoming(id).then(|| self.slots[id.task_id].current.as_ref().map(|old| old.id));
        let slot = &mut self.slots[id.task_id];
        let restarts = slot.starts;
        slot.starts += 1;
        slot.is_added = false;
        self.tell(Notice::Started { worker: id, restarts, replaces: replaces.flatten() });
        self.forget_refusals_of(id.task_id);
        if let Some(max_lifetime) = self.rules.max_lifetime {
            let lifetime = backoff::lifetime(max_lifetime, &mut self.jitter);
            self.arm(id, Alarm::Retire, lifetime);
        }
        if self.rules.max_memory.is_some() {
            self.arm(id, Alarm::Measure, MEASURE_EVERY);
        }
        match self.rules.readiness {
            Readiness::AtFork | Readiness::AtBody if self.decides_upgrade(id) => {
                self.arm(id, Alarm::Trial, BOOT);
                self.touched(id.task_id);
            }
            Readiness::AtFork => self.became_ready(id),
            Readiness::AtBody => self.touched(id.task_id),
            Readiness::Announced(ready_timeout) => {
                self.arm(id, Alarm::Ready, ready_timeout);
                self.touched(id.task_id);
            }
        }
    }

    pub(super) fn fork_failed(&mut self, id: ProcId, error: io::Error) {
        let is_incoming = self.is_incoming(id);
        let Some(task_id) = self.unfork(id) else { return };
        if self.decides_upgrade(id) {
            return self.go_back(task_id, TurnFailure::CannotFork(error));
        }
        if is_incoming {
            return self.turn_failed(task_id, TurnFailure::CannotFork(error));
        }
        let added = self.slots.get(task_id..self.size);
        if added.is_some_and(|added| !added.is_empty() && added.iter().all(|slot| slot.is_added)) {
            return self.take_back(task_id, error);
        }
        // First starts come before all restarts: the pool is not complete yet.
        if self.slots[task_id].starts == 0 && task_id < self.rules.workers {
            let by = self.ends_a_delay(&format!("cannot fork: {error}"));
            return self.stop(Exit::CannotFork(error), by);
        }
        let awaited = self.awaits_ready(id).then(|| copy(&error));
        self.fork_refused(task_id, error);
        if let Some(error) = awaited {
            self.turn_failed(task_id, TurnFailure::CannotFork(error));
        }
    }

    pub(super) fn fork_unsafe(&mut self, id: ProcId, why: String) {
        if self.unfork(id).is_some() {
            let by = self.ends_a_delay(&format!("forking became unsafe: {why}"));
            self.stop(Exit::Unsafe(why), by);
        }
    }

    /// Why the stop begins now that was asked for before and delayed: its exit will not say so.
    fn ends_a_delay(&self, why: &str) -> Option<String> {
        matches!(self.phase, Phase::StopDelayed(_)).then(|| why.to_owned())
    }

    /// Empties the place of a process that was never made.
    fn unfork(&mut self, id: ProcId) -> Option<usize> {
        self.proc(id).filter(|proc| proc.state == ProcState::Forking)?;
        self.slots[id.task_id].take(id)?;
        self.alive -= 1;
        Some(id.task_id)
    }

    pub(super) fn start_after(&mut self, task_id: usize, delay: Duration) {
        self.forget_start(task_id);
        if delay.is_zero() {
            self.dirty.push_back(task_id);
        } else {
            self.deadlines.set(Deadline::Start(task_id), self.now.after(delay));
        }
    }

    pub(super) fn forget_start(&mut self, task_id: usize) {
        self.deadlines.clear(Deadline::Start(task_id));
    }
}

/// A copy of the error, for a second notice.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
