//! Replacing workers that run: a reload, which takes every slot in its turn, and recycling. One slot at a time.

use std::collections::VecDeque;
use std::time::Duration;

use super::backoff::STABLE;
use super::deadlines::Alarm;
use super::notice::{Notice, TurnFailure};
use super::slot::{Proc, Why};
use super::start::Place;
use super::{Phase, Policy, ProcId, Time};
use crate::grammar::Reload as Style;

/// A worker that could not be recycled is tried again after this.
const RETRY: Duration = Duration::from_secs(10);

/// What is to be replaced, and what is being replaced.
#[derive(Default)]
pub(crate) struct Turns {
    current: Option<Turn>,
    /// What was told to end in turns that were given up. No turn begins before all of them have ended.
    leaving: Vec<ProcId>,
    reload: Option<Reload>,
    /// Workers that are to be recycled.
    recycles: VecDeque<ProcId>,
}

/// One slot's replacement in progress.
struct Turn {
    task_id: usize,
    /// Why, where it is not for a reload.
    recycle: Option<Recycle>,
    awaits: Awaits,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// The old worker is gone, and its replacement is about to be started.
    Start,
    /// The replacement is started, and not ready yet.
    Ready(ProcId),
    /// The old worker was told to end.
    End(ProcId),
}

struct Reload {
    /// Who asked for it, where it is not an upgrade's.
    by: Option<String>,
    since: Time,
    /// What was forked from here on is fresh already.
    first_fork: u64,
    replaced: usize,
    /// Somebody asked for another one meanwhile.
    again: Option<String>,
}

/// Why a worker is recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recycle {
    Asked,
    Lifetime,
    /// It has so many bytes of its own, and was to have no more than so many.
    Memory {
        used: u64,
        max_memory: u64,
    },
}

impl Turns {
    /// Nobody is being replaced.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.leaving.is_empty()
    }

    /// Nothing is replaced, and nothing waits for that.
    #[cfg(test)]
    pub(super) fn are_over(&self) -> bool {
        self.is_idle() && !self.have_reload() && self.recycles.is_empty()
    }

    /// A reload, or that of an upgrade, is in progress.
    pub(super) fn have_reload(&self) -> bool {
        self.reload.is_some()
    }

    /// Who asked for a reload that is not done: the last one who did.
    pub(super) fn reload_asked_by(&self) -> Option<&String> {
        let reload = self.reload.as_ref()?;
        reload.again.as_ref().or(reload.by.as_ref())
    }
}

/// Whether a replacement can stand beside the worker of a slot.
enum Room {
    Free,
    /// When what is there has ended, which was told to.
    Taken,
    /// SIGKILL has not ended this one.
    Blocked(ProcId),
}

impl Policy {
    pub(super) fn ask_reload(&mut self, by: String) {
        if self.is_going_back() {
            self.owed_reload = Some(by.clone());
            return self.tell(Notice::ReloadQueued { by });
        }
        match &mut self.turns.reload {
            Some(reload) => {
                reload.again = Some(by.clone());
                self.tell(Notice::ReloadQueued { by });
            }
            None => self.begin_reload(by),
        }
    }

    /// Has a worker replaced when its turn comes.
    pub(super) fn ask_recycle(&mut self, id: ProcId, why: Recycle) {
        let now = self.now;
        let Some(proc) = self.proc(id).filter(|proc| proc.is_working()) else { return };
        let is_first = proc.recycle.is_none();
        // That it asked says what its end means, if it does not wait for its turn.
        if is_first || why == Recycle::Asked {
            proc.recycle = Some(why);
        }
        if !is_first {
            return;
        }
        let is_soon = why == Recycle::Asked && now.since(proc.born) < STABLE;
        let delay = self.recycling_delay(id.task_id, is_soon);
        self.arm(id, Alarm::Recycle, delay);
    }

    /// The worker waits for its turn.
    pub(super) fn queue_recycle(&mut self, id: ProcId) {
        if !self.turns.recycles.contains(&id) {
            self.turns.recycles.push_back(id);
        }
    }

    /// The slot's worker waits for its turn, if it is to be recycled and is not to wait for a time first.
    pub(super) fn recycle_after_all(&mut self, task_id: usize) {
        let is_due =
            |proc: &&Proc| proc.recycle.is_some() && proc.is_working() && !self.is_armed(proc.id, Alarm::Recycle);
        let current = self.slots[task_id].current.as_ref().filter(is_due).map(|proc| proc.id);
        current.into_iter().for_each(|id| self.queue_recycle(id));
    }

    /// Nothing is replaced any more.
    pub(super) fn forget_turns(&mut self) {
        self.turns = Turns::default();
    }

    /// The new binary has failed, and the replacing that it began is over. Those to be recycled wait on; a reload that was
    /// asked for meanwhile is owed.
    pub(super) fn give_turns_up(&mut self) {
        let asked_by = self.turns.reload_asked_by().cloned();
        self.owed_reload = asked_by.or(self.owed_reload.take());
        (self.turns.current, self.turns.reload) = (None, None);
    }

    /// The slot is given up: its turn, if it has it, is over.
    pub(super) fn cancel_turn(&mut self, task_id: usize) {
        self.turns.current.take_if(|turn| turn.task_id == task_id);
    }

    /// Whether its next process may stand beside another one.
    pub(super) fn has_turn(&self, task_id: usize) -> bool {
        self.turns.current.as_ref().is_some_and(|turn| turn.task_id == task_id)
    }

    /// No turn begins before this process has ended, which was told to in a turn that was given up.
    pub(super) fn wait_until_gone(&mut self, id: ProcId) {
        self.turns.leaving.push(id);
    }

    /// Begins the next turn, if there is one and none is in progress.
    pub(super) fn begin_turn(&mut self) -> bool {
        if !matches!(self.phase, Phase::Running) || self.is_going_back() || !self.turns.is_idle() {
            return false;
        }
        match self.next_of_reload() {
            Some(task_id) => self.begin_turn_of_reload(task_id),
            None => self.is_going_back() || self.begin_recycling(),
        }
    }

    fn begin_turn_of_reload(&mut self, task_id: usize) -> bool {
        match self.room_beside(task_id) {
            Room::Free => self.start_turn(task_id, None),
            Room::Taken => return false,
            Room::Blocked(worker) if self.is_on_probation() => self.go_back(task_id, TurnFailure::Overdue { worker }),
            Room::Blocked(worker) => self.reload_failed(task_id, TurnFailure::Overdue { worker }),
        }
        true
    }

    fn begin_recycling(&mut self) -> bool {
        let Some(&id) = self.turns.recycles.front() else { return false };
        let room = self.room_beside(id.task_id);
        if matches!(room, Room::Taken) {
            return false;
        }
        self.turns.recycles.pop_front();
        let is_wanted = id.task_id < self.size;
        let waiting = self.proc(id).filter(|proc| is_wanted && proc.is_working());
        match (waiting.and_then(|proc| proc.recycle), room) {
            (Some(why), Room::Free) => self.start_turn(id.task_id, Some(why)),
            (Some(_), Room::Taken | Room::Blocked(_)) => self.arm(id, Alarm::Recycle, RETRY),
            (None, _) => {}
        }
        true
    }

    /// Whether this is a replacement that stands beside the worker it is to replace.
    pub(super) fn is_incoming(&self, id: ProcId) -> bool {
        let beside = self.slots.get(id.task_id).and_then(|slot| slot.beside.as_ref());
        self.awaits_ready(id) && beside.is_some_and(|proc| proc.id == id)
    }

    /// Whether a turn goes on when this process is ready.
    pub(super) fn awaits_ready(&self, id: ProcId) -> bool {
        self.turns.current.as_ref().is_some_and(|turn| turn.awaits == Awaits::Ready(id))
    }

    /// A process is ready: if a turn waits for that, the old worker may go.
    pub(super) fn turn_ready(&mut self, id: ProcId) {
        if !self.awaits_ready(id) {
            return;
        }
        match self.promote(id) {
            Some(old) => {
                self.turn_awaits(Awaits::End(old));
                if self.proc(old).is_some_and(|old| old.is_overdue) {
                    self.turn_overdue(old);
                }
            }
            None => self.turn_done(),
        }
    }

    /// A process has ended: if a turn waits for that, it goes on.
    pub(super) fn turn_ended(&mut self, id: ProcId) {
        self.turns.leaving.retain(|&leaving| leaving != id);
        let waits = self.turns.current.as_ref().is_some_and(|turn| turn.awaits == Awaits::End(id));
        match self.rules.reload {
            _ if !waits => {}
            Style::Overlap => self.turn_done(),
            Style::Exclusive => self.turn_awaits(Awaits::Start),
        }
    }

    /// SIGKILL has not ended this process: no turn waits for it any more.
    pub(super) fn turn_overdue(&mut self, id: ProcId) {
        self.turns.leaving.retain(|&leaving| leaving != id);
        let is_old = self.turns.current.as_ref().is_some_and(|turn| turn.awaits == Awaits::End(id));
        let is_awaited = is_old || self.awaits_ready(id);
        let is_recycled = self.turns.current.as_ref().is_some_and(|turn| turn.recycle.is_some());
        let why = TurnFailure::Overdue { worker: id };
        if self.decides_upgrade(id) || is_awaited && self.is_on_probation() {
            self.go_back(id.task_id, why);
        } else if is_old && is_recycled {
            // It has its replacement, or its slot waits for it like that of any other worker.
            self.turns.current = None;
        } else if is_awaited {
            if self.is_incoming(id) {
                // Its own end is no news.
                self.terminate(id, Why::Turn);
            }
            self.turn_failed(why);
        }
    }

    /// A worker is about to be started: if a turn waits for that, it waits for this one to be ready.
    pub(super) fn turn_forks(&mut self, id: ProcId) {
        if let Some(turn) = self.turns.current.as_mut().filter(|turn| turn.task_id == id.task_id) {
            if turn.awaits == Awaits::Start {
                turn.awaits = Awaits::Ready(id);
            }
        }
    }

    /// A worker that ended leaves its place to the replacement that stands beside it, ready or not.
    pub(super) fn take_over(&mut self, task_id: usize) {
        let goes_on = |id: ProcId| self.awaits_ready(id) || self.is_given_up(id);
        let is_awaited = self.slots[task_id].beside.as_ref().is_some_and(|proc| goes_on(proc.id));
        let slot = &mut self.slots[task_id];
        if slot.current.is_none() && is_awaited {
            slot.current = slot.beside.take();
        }
    }

    /// The replacement failed: the worker that is there stays, and a reload ends here.
    pub(super) fn turn_failed(&mut self, why: TurnFailure) {
        let Some(Turn { task_id, recycle, .. }) = self.turns.current.take() else { return };
        if recycle.is_none() {
            self.reload_failed(task_id, why);
        } else if let Some(worker) = self.kept(task_id) {
            let retry = (!why.is_final()).then_some(RETRY);
            self.tell(Notice::RecycleFailed { worker, why, retry });
            if let Some(retry) = retry {
                self.arm(worker, Alarm::Recycle, retry);
            }
        }
    }

    fn reload_failed(&mut self, task_id: usize, why: TurnFailure) {
        let Some(reload) = self.turns.reload.take() else { return };
        self.end_upgrade();
        let kept = self.kept(task_id);
        self.tell(Notice::ReloadFailed { task_id, why, kept, replaced: reload.replaced });
        self.reload_again(reload.again);
    }

    /// The worker that stays.
    fn kept(&self, task_id: usize) -> Option<ProcId> {
        self.slots[task_id].current.as_ref().filter(|proc| proc.is_working()).map(|proc| proc.id)
    }

    fn begin_reload(&mut self, by: String) {
        self.replace_all(Some(by.clone()));
        self.tell(Notice::Reloading { by, alive: self.alive });
    }

    /// Every worker that there is now has its turn.
    pub(super) fn replace_all(&mut self, by: Option<String>) {
        let reload = Reload { by, since: self.now, first_fork: self.forks, replaced: 0, again: None };
        self.turns.reload = Some(reload);
    }

    fn reload_again(&mut self, by: Option<String>) {
        if let Some(by) = by {
            self.begin_reload(by);
        }
    }

    /// The next slot whose worker is older than the reload. Ends the reload when there is none.
    fn next_of_reload(&mut self) -> Option<usize> {
        let first_fork = self.turns.reload.as_ref()?.first_fork;
        let is_old = |proc: &Proc| proc.is_working() && proc.id.fork < first_fork;
        let wanted = self.slots.get(..self.size).unwrap_or_default();
        // From the first one on: a slot that had its turn may have its old worker still, as it was one too many meanwhile.
        if let Some(task_id) = wanted.iter().position(|slot| slot.current.as_ref().is_some_and(is_old)) {
            return Some(task_id);
        }
        if self.is_on_probation() {
            // Not over before a worker has shown that it can be.
            self.go_back_if_nothing_goes_on();
            return None;
        }
        let Reload { since, replaced, again, .. } = self.turns.reload.take()?;
        let took = self.now.since(since);
        let was_upgrade = self.end_upgrade();
        self.tell(if was_upgrade {
            Notice::UpgradeDone { replaced, took }
        } else {
            Notice::Reloaded { replaced, took }
        });
        self.reload_again(again);
        self.next_of_reload()
    }

    /// A slot that was one too many, and is wanted again, may still have a process beside its worker that was told to
    /// end.
    fn room_beside(&self, task_id: usize) -> Room {
        let slot = self.slots.get(task_id).filter(|_| task_id < self.size);
        match slot.and_then(|slot| slot.beside.as_ref()) {
            None => Room::Free,
            Some(proc) if proc.is_overdue => Room::Blocked(proc.id),
            Some(_) => Room::Taken,
        }
    }

    fn start_turn(&mut self, task_id: usize, recycle: Option<Recycle>) {
        let Some(old) = &self.slots[task_id].current else { return };
        let (old, up) = (old.id, self.now.since(old.born));
        if let Some(why) = recycle {
            self.tell(Notice::Recycling { worker: old, why, up });
        }
        let awaits = match self.rules.reload {
            Style::Overlap => Awaits::Ready(self.fork(task_id, Place::Beside)),
            Style::Exclusive => {
                self.count_turn(task_id, recycle.is_some(), up);
                self.terminate(old, Why::Turn);
                Awaits::End(old)
            }
        };
        self.turns.current = Some(Turn { task_id, recycle, awaits });
    }

    /// Puts a replacement in the place of the old worker, which is told to end and returned, if it is still there.
    fn promote(&mut self, incoming: ProcId) -> Option<ProcId> {
        let slot = &mut self.slots[incoming.task_id];
        if slot.current.as_ref().is_some_and(|proc| proc.id == incoming) {
            return None;
        }
        std::mem::swap(&mut slot.current, &mut slot.beside);
        let old = slot.beside.as_ref()?;
        let (old, is_working, up) = (old.id, old.is_working(), self.now.since(old.born));
        let is_recycled = self.turns.current.as_ref().is_some_and(|turn| turn.recycle.is_some());
        self.count_turn(incoming.task_id, is_recycled, up);
        if is_working {
            self.terminate(old, Why::Turn);
        }
        Some(old)
    }

    fn turn_awaits(&mut self, awaits: Awaits) {
        if let Some(turn) = &mut self.turns.current {
            turn.awaits = awaits;
        }
    }

    fn turn_done(&mut self) {
        let Some(turn) = self.turns.current.take() else { return };
        if let (None, Some(reload)) = (turn.recycle, &mut self.turns.reload) {
            reload.replaced += 1;
        }
    }
}
