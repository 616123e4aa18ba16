//! Replacing workers that run, one slot at a time: a reload, which takes every slot in its turn, and recycling.

use std::collections::VecDeque;
use std::time::Duration;

use super::backoff::STABLE;
use super::deadlines::Alarm;
use super::notice::{Notice, TurnFailure};
use super::slot::{Proc, Why};
use super::start::Place;
use super::{Phase, Policy, ProcId, Time};
use crate::grammar::Reload as Style;

/// How long after a failed recycling the next one is tried.
const RETRY: Duration = Duration::from_secs(10);

/// The workers that wait for their replacement, and the one that is being replaced.
#[derive(Default)]
pub(crate) struct Turns {
    current: Option<Turn>,
    /// Processes that were told to end in turns that were given up. No turn begins before all of them have ended.
    leaving: Vec<ProcId>,
    reload: Option<Reload>,
    /// Workers that wait to be recycled.
    recycles: VecDeque<ProcId>,
}

/// One slot's replacement in progress.
struct Turn {
    task_id: usize,
    /// Why the worker is recycled. `None` where the turn is a reload's.
    recycle: Option<Recycle>,
    awaits: Awaits,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// The old worker is gone, and its replacement is about to be started.
    Start,
    /// The replacement was forked, and is not ready yet.
    Ready(ProcId),
    /// The old worker was told to end.
    End(ProcId),
}

struct Reload {
    /// The sender that asked for it. `None` where an upgrade did.
    by: Option<String>,
    since: Time,
    /// Workers from this fork on are new enough.
    first_fork: u64,
    replaced: usize,
    /// Another reload was asked for meanwhile, by this sender.
    again: Option<String>,
}

/// Why a worker is recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recycle {
    Asked,
    Lifetime,
    /// It uses `used` bytes of its own, which is more than `max_memory`.
    Memory {
        used: u64,
        max_memory: u64,
    },
}

impl Turns {
    /// No worker is being replaced.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.leaving.is_empty()
    }

    /// No worker is being replaced or waits for that.
    #[cfg(test)]
    pub(super) fn are_over(&self) -> bool {
        self.is_idle() && !self.have_reload() && self.recycles.is_empty()
    }

    /// A reload is in progress, perhaps an upgrade's.
    pub(super) fn have_reload(&self) -> bool {
        self.reload.is_some()
    }

    /// The last sender that asked for a reload that is not done.
    pub(super) fn reload_asked_by(&self) -> Option<&String> {
        let reload = self.reload.as_ref()?;
        reload.again.as_ref().or(reload.by.as_ref())
    }
}

/// Whether a replacement can stand beside the worker of a slot.
enum Room {
    Free,
    /// There will be room when a process has ended that was told to.
    Taken,
    /// SIGKILL has not ended this process, which is in the way.
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

    /// Lets a worker be replaced when its turn comes.
    pub(super) fn ask_recycle(&mut self, id: ProcId, why: Recycle) {
        let now = self.now;
        let Some(proc) = self.proc(id).filter(|proc| proc.is_working()) else { return };
        let is_first = proc.recycle.is_none();
        // Where the worker asked, its end means something else if it does not wait for its turn.
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

    /// Puts the slot's worker into the queue if it is due to be recycled and not already waiting for a time.
    pub(super) fn recycle_after_all(&mut self, task_id: usize) {
        let is_due =
            |proc: &&Proc| proc.recycle.is_some() && proc.is_working() && !self.is_armed(proc.id, Alarm::Recycle);
        let current = self.slots[task_id].current.as_ref().filter(is_due).map(|proc| proc.id);
        current.into_iter().for_each(|id| self.queue_recycle(id));
    }

    /// Forgets all turns, because the pool stops.
    pub(super) fn forget_turns(&mut self) {
        self.turns = Turns::default();
    }

    /// The new binary has failed, so the turns that it began are over. Workers that wait to be recycled go on waiting,
    /// and a reload that was asked for meanwhile is owed.
    pub(super) fn give_turns_up(&mut self) {
        let asked_by = self.turns.reload_asked_by().cloned();
        self.owed_reload = asked_by.or(self.owed_reload.take());
        (self.turns.current, self.turns.reload) = (None, None);
    }

    /// Ends the turn of this slot, if it has the turn.
    pub(super) fn cancel_turn(&mut self, task_id: usize) {
        self.turns.current.take_if(|turn| turn.task_id == task_id);
    }

    /// Whether the slot has the turn, so that its next process may stand beside another one.
    pub(super) fn has_turn(&self, task_id: usize) -> bool {
        self.turns.current.as_ref().is_some_and(|turn| turn.task_id == task_id)
    }

    /// Lets no turn begin before this process has ended, which was told to in a turn that was given up.
    pub(super) fn wait_until_gone(&mut self, id: ProcId) {
        self.turns.leaving.push(id);
    }

    /// Begins the next turn, if one waits and none is in progress.
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

    /// Whether a turn waits for this process to be ready.
    pub(super) fn awaits_ready(&self, id: ProcId) -> bool {
        self.turns.current.as_ref().is_some_and(|turn| turn.awaits == Awaits::Ready(id))
    }

    /// A process is ready. If a turn waits for that, the old worker is told to end.
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

    /// A process has ended. If a turn waits for that, the turn goes on.
    pub(super) fn turn_ended(&mut self, id: ProcId) {
        self.turns.leaving.retain(|&leaving| leaving != id);
        let waits = self.turns.current.as_ref().is_some_and(|turn| turn.awaits == Awaits::End(id));
        match self.rules.reload {
            _ if !waits => {}
            Style::Overlap => self.turn_done(),
            Style::Exclusive => self.turn_awaits(Awaits::Start),
        }
    }

    /// SIGKILL has not ended this process, so no turn waits for it any more.
    pub(super) fn turn_overdue(&mut self, id: ProcId) {
        self.turns.leaving.retain(|&leaving| leaving != id);
        let is_old = self.turns.current.as_ref().is_some_and(|turn| turn.awaits == Awaits::End(id));
        let is_awaited = is_old || self.awaits_ready(id);
        let is_recycled = self.turns.current.as_ref().is_some_and(|turn| turn.recycle.is_some());
        let why = TurnFailure::Overdue { worker: id };
        if self.decides_upgrade(id) || is_awaited && self.is_on_probation() {
            self.go_back(id.task_id, why);
        } else if is_old && is_recycled {
            // The worker has its replacement, or its slot waits for its end like any other slot.
            self.turns.current = None;
        } else if is_awaited {
            if self.is_incoming(id) {
                // Its own end is not reported any more.
                self.terminate(id, Why::Turn);
            }
            self.turn_failed(why);
        }
    }

    /// A worker is about to be forked. If a turn waits for that, it waits from now on for this worker to be ready.
    pub(super) fn turn_forks(&mut self, id: ProcId) {
        if let Some(turn) = self.turns.current.as_mut().filter(|turn| turn.task_id == id.task_id) {
            if turn.awaits == Awaits::Start {
                turn.awaits = Awaits::Ready(id);
            }
        }
    }

    /// After the end of a worker, its replacement that stands beside it takes its place, ready or not.
    pub(super) fn take_over(&mut self, task_id: usize) {
        let goes_on = |id: ProcId| self.awaits_ready(id) || self.is_given_up(id);
        let is_awaited = self.slots[task_id].beside.as_ref().is_some_and(|proc| goes_on(proc.id));
        let slot = &mut self.slots[task_id];
        if slot.current.is_none() && is_awaited {
            slot.current = slot.beside.take();
        }
    }

    /// The replacement failed. The old worker stays, and a reload ends here.
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

    /// The slot's worker, if it runs and was not told to end.
    fn kept(&self, task_id: usize) -> Option<ProcId> {
        self.slots[task_id].current.as_ref().filter(|proc| proc.is_working()).map(|proc| proc.id)
    }

    fn begin_reload(&mut self, by: String) {
        self.replace_all(Some(by.clone()));
        self.tell(Notice::Reloading { by, alive: self.alive });
    }

    /// Gives a turn to every worker that lives now.
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
        // The search begins at the first slot: a slot that had its turn may still have its old worker, if it was not
        // wanted for a while.
        if let Some(task_id) = wanted.iter().position(|slot| slot.current.as_ref().is_some_and(is_old)) {
            return Some(task_id);
        }
        if self.is_on_probation() {
            // The reload of an upgrade is not over before a new worker was ready.
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

    /// Whether there is room beside the slot's worker. A slot that is wanted again may still have a process there that
    /// was told to end.
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

    /// Puts a replacement in the place of the old worker. If that is still there, tells it to end and returns it.
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
