//! Replacing workers that run: a reload, which takes every slot in its turn, and recycling. `reload_width` says how many
//! slots have a turn at once.

use std::time::Duration;

use super::backoff::STABLE;
use super::deadlines::Alarm;
use super::in_progress::{Awaits, Cause, InProgress};
use super::notice::{Notice, TurnFailure};
use super::slot::{Proc, Why};
use super::start::Place;
use super::{Phase, Policy, ProcId, Time};
use crate::grammar::{Reload as Style, Width};

/// How long after a failed recycling the next one is tried.
const RETRY: Duration = Duration::from_secs(10);

/// The workers that wait for their replacement, and those that are being replaced.
#[derive(Default)]
pub(crate) struct Turns {
    in_progress: InProgress,
    reload: Option<Reload>,
    /// Workers that wait to be recycled.
    recycles: Vec<ProcId>,
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
        self.in_progress.count() == 0
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
        let Some(proc) = self.working(id) else { return };
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
            self.turns.recycles.push(id);
        }
    }

    /// Puts the slot's worker into the queue if it is due to be recycled and not already waiting for a time.
    pub(super) fn recycle_after_all(&mut self, task_id: usize) {
        let is_due =
            |proc: &&Proc| proc.recycle.is_some() && proc.is_working() && !self.is_armed(proc.id, Alarm::Recycle);
        if let Some(id) = self.slots[task_id].current.as_ref().filter(is_due).map(|proc| proc.id) {
            self.queue_recycle(id);
        }
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
        self.turns.in_progress.give_up();
        self.turns.reload = None;
    }

    /// Ends the turn of this slot, if it has one.
    pub(super) fn cancel_turn(&mut self, task_id: usize) {
        self.turns.in_progress.end(task_id);
    }

    /// Whether the slot has a turn, so that its next process may stand beside another one.
    pub(super) fn has_turn(&self, task_id: usize) -> bool {
        self.turns.in_progress.awaits(task_id).is_some()
    }

    /// This process takes the place of a turn until it has ended: it was told to in a turn that was given up.
    pub(super) fn wait_until_gone(&mut self, id: ProcId) {
        self.turns.in_progress.add_leaver(id);
    }

    /// How many slots may have a turn at once. The first worker of a new binary is alone.
    pub(super) fn width(&self) -> usize {
        if self.is_on_probation() { 1 } else { self.width_once_proved() }
    }

    pub(super) fn width_once_proved(&self) -> usize {
        match self.rules.reload_width {
            Width::Slots(slots) => slots,
            // Without `size * percent`, which may be too large.
            Width::Percent(percent) => (self.size / 100 * percent + self.size % 100 * percent / 100).max(1),
        }
    }

    /// Begins the next turn, if one waits and there is room for it. None begins before an upgrade that is due.
    pub(super) fn begin_turn(&mut self) -> bool {
        let is_held = self.is_going_back() || self.is_upgrade_due();
        if !matches!(self.phase, Phase::Running) || is_held || self.turns.in_progress.count() >= self.width() {
            return false;
        }
        match self.next_of_reload() {
            Some(task_id) => self.begin_turn_of_reload(task_id),
            None => self.is_going_back() || self.begin_recycling(),
        }
    }

    fn begin_turn_of_reload(&mut self, task_id: usize) -> bool {
        match self.room_beside(task_id) {
            Room::Taken => return false,
            Room::Free if self.is_crowded() => return false,
            Room::Free => self.start_turn(task_id, None),
            Room::Blocked(worker) if self.is_on_probation() => self.go_back(task_id, TurnFailure::Overdue { worker }),
            Room::Blocked(worker) => self.reload_failed(task_id, TurnFailure::Overdue { worker }),
        }
        true
    }

    fn begin_recycling(&mut self) -> bool {
        let can_begin = |id: &ProcId| self.can_have_turn(id.task_id);
        let Some(index) = self.turns.recycles.iter().position(can_begin) else { return false };
        let id = self.turns.recycles[index];
        let room = self.room_beside(id.task_id);
        let is_wanted = id.task_id < self.size;
        let waiting = if is_wanted { self.working(id).and_then(|proc| proc.recycle) } else { None };
        if waiting.is_some() && matches!(room, Room::Free) && self.is_crowded() {
            return false;
        }
        self.turns.recycles.remove(index);
        match (waiting, room) {
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
        self.turns.in_progress.awaits(id.task_id) == Some(Awaits::Ready(id))
    }

    /// A process is ready. If a turn waits for that, the old worker is told to end.
    pub(super) fn turn_ready(&mut self, id: ProcId) {
        if !self.awaits_ready(id) {
            return;
        }
        match self.promote(id) {
            Some(old) => {
                self.turns.in_progress.await_next(id.task_id, Awaits::End(old));
                if self.proc(old).is_some_and(|old| old.is_overdue) {
                    self.turn_overdue(old);
                }
            }
            None => self.turn_done(id.task_id),
        }
    }

    /// A process has ended. If a turn waits for that, the turn goes on.
    pub(super) fn turn_ended(&mut self, id: ProcId) {
        self.turns.in_progress.forget_leaver(id);
        match (self.turns.in_progress.awaits(id.task_id), self.rules.reload) {
            (Some(Awaits::End(old)), Style::Overlap) if old == id => self.turn_done(id.task_id),
            (Some(Awaits::End(old)), Style::Exclusive) if old == id => {
                self.turns.in_progress.await_next(id.task_id, Awaits::Start);
            }
            (Some(Awaits::Gone(new)), _) if new == id => self.cancel_turn(id.task_id),
            (Some(Awaits::Start | Awaits::Ready(_) | Awaits::End(_) | Awaits::Gone(_)) | None, _) => {}
        }
    }

    /// SIGKILL has not ended this process, so no turn waits for it any more.
    pub(super) fn turn_overdue(&mut self, id: ProcId) {
        self.turns.in_progress.forget_leaver(id);
        let awaits = self.turns.in_progress.awaits(id.task_id);
        let is_old = awaits == Some(Awaits::End(id));
        let is_awaited = is_old || self.awaits_ready(id);
        let is_of_reload = self.turns.in_progress.cause(id.task_id) == Some(Cause::Reload);
        let why = TurnFailure::Overdue { worker: id };
        if self.decides_upgrade(id) || is_awaited && self.is_on_probation() {
            self.go_back(id.task_id, why);
        } else if awaits == Some(Awaits::Gone(id)) || is_old && !is_of_reload {
            // The slot has its worker, or waits for the end of this one like any other slot.
            self.cancel_turn(id.task_id);
        } else if is_awaited {
            if self.is_incoming(id) {
                // Its own end is not reported any more.
                self.terminate(id, Why::Turn);
            }
            self.turn_failed(id.task_id, why);
        }
    }

    /// A worker is about to be forked. If a turn waits for that, it waits from now on for this worker to be ready.
    pub(super) fn turn_forks(&mut self, id: ProcId) {
        if self.turns.in_progress.awaits(id.task_id) == Some(Awaits::Start) {
            self.turns.in_progress.await_next(id.task_id, Awaits::Ready(id));
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
    pub(super) fn turn_failed(&mut self, task_id: usize, why: TurnFailure) {
        match self.turns.in_progress.end(task_id) {
            Some(Cause::Reload) => self.reload_failed(task_id, why),
            Some(Cause::Recycle) => self.recycle_failed(task_id, why),
            // Another notice tells how the worker ended, and its slot goes on like any other.
            Some(Cause::Abandoned) | None => {}
        }
    }

    fn recycle_failed(&mut self, task_id: usize, why: TurnFailure) {
        let Some(worker) = self.kept(task_id) else { return };
        let retry = (!why.is_final()).then_some(RETRY);
        self.tell(Notice::RecycleFailed { worker, why, retry });
        if let Some(retry) = retry {
            self.arm(worker, Alarm::Recycle, retry);
        }
    }

    fn reload_failed(&mut self, task_id: usize, why: TurnFailure) {
        let Some(reload) = self.turns.reload.take() else { return };
        self.end_upgrade();
        let kept = self.kept(task_id);
        let abandoned = self.turns.in_progress.abandon_reload();
        let go_back = self.of_no_use(&abandoned);
        let go_on = abandoned.len() - go_back.len();
        self.tell(Notice::ReloadFailed {
            task_id,
            why,
            kept,
            replaced: reload.replaced,
            go_on,
            go_back: go_back.len(),
        });
        for new in go_back {
            self.turn_back(new);
        }
        self.reload_again(reload.again);
    }

    /// No turn begins any more, because a stop was asked for. Those in progress end as when a reload is abandoned.
    pub(super) fn end_turns(&mut self) {
        self.turns.reload = None;
        self.turns.recycles.clear();
        let abandoned = self.turns.in_progress.abandon_all();
        for new in self.of_no_use(&abandoned) {
            self.turn_back(new);
        }
    }

    /// The replacements that are of no use to turns that wait for this: they are not ready beside their old workers. The
    /// other turns go on, because the old worker is gone or was told to end.
    fn of_no_use(&self, abandoned: &[Awaits]) -> Vec<ProcId> {
        let mut of_no_use = Vec::new();
        for awaits in abandoned {
            match *awaits {
                Awaits::Ready(new) if self.is_incoming(new) => of_no_use.push(new),
                Awaits::Ready(_) | Awaits::Start | Awaits::End(_) | Awaits::Gone(_) => {}
            }
        }
        of_no_use
    }

    /// The old worker stays, and its replacement is one too many. The turn lasts until that has ended.
    fn turn_back(&mut self, new: ProcId) {
        self.turns.in_progress.await_next(new.task_id, Awaits::Gone(new));
        self.terminate(new, Why::Surplus);
    }

    /// The slot's worker, if it runs and was not told to end.
    fn kept(&self, task_id: usize) -> Option<ProcId> {
        self.slots[task_id].current.as_ref().filter(|proc| proc.is_working()).map(|proc| proc.id)
    }

    fn begin_reload(&mut self, by: String) {
        self.replace_all(Some(by.clone()));
        self.tell(Notice::Reloading { by, alive: self.alive, width: self.width() });
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

    /// The next slot whose worker is older than the reload and can have its turn. Ends the reload when no worker is
    /// older, and no turn of it is in progress.
    fn next_of_reload(&mut self) -> Option<usize> {
        let first_fork = self.turns.reload.as_ref()?.first_fork;
        let is_old = |proc: &Proc| proc.is_working() && proc.id.fork < first_fork;
        let wanted = self.slots.get(..self.size).unwrap_or_default();
        // The search begins at the first slot: a slot that had its turn may still have its old worker, if it was not
        // wanted for a while.
        let mut any_is_old = false;
        for (task_id, slot) in wanted.iter().enumerate() {
            if slot.current.as_ref().is_some_and(is_old) {
                any_is_old = true;
                if self.can_have_turn(task_id) {
                    return Some(task_id);
                }
            }
        }
        if any_is_old || self.turns.in_progress.any_of_reload() {
            return None;
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

    /// Whether the slot has no turn, and its next turn waits for no process that was told to end.
    fn can_have_turn(&self, task_id: usize) -> bool {
        !self.has_turn(task_id) && !matches!(self.room_beside(task_id), Room::Taken)
    }

    /// Whether one more process would be more than the workers and the width together. A worker that is not wanted any
    /// more counts as a worker until it has ended, so that no turn waits for it.
    fn is_crowded(&self) -> bool {
        match self.rules.reload {
            Style::Exclusive => false,
            Style::Overlap => self.second_processes() >= self.width(),
        }
    }

    /// How many slots have two processes: in a turn, or left of one. A process that SIGKILL has not ended is not counted.
    fn second_processes(&self) -> usize {
        let is_there = |proc: &Option<Proc>| proc.as_ref().is_some_and(|proc| !proc.is_overdue);
        self.slots.iter().filter(|slot| is_there(&slot.current) && is_there(&slot.beside)).count()
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
        let cause = if recycle.is_some() { Cause::Recycle } else { Cause::Reload };
        self.turns.in_progress.begin(task_id, cause, awaits);
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
        let is_recycled = self.turns.in_progress.cause(incoming.task_id) == Some(Cause::Recycle);
        self.count_turn(incoming.task_id, is_recycled, up);
        if is_working {
            self.terminate(old, Why::Turn);
        }
        Some(old)
    }

    fn turn_done(&mut self, task_id: usize) {
        let cause = self.turns.in_progress.end(task_id);
        if let (Some(Cause::Reload), Some(reload)) = (cause, &mut self.turns.reload) {
            reload.replaced += 1;
        }
    }
}
