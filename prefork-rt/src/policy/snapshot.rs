//! The part of the policy that outlives its binary: an upgrade hands it to the next one.

use super::backoff::{self, Backoff};
use super::budget::Counted;
use super::deadlines::{Alarm, Deadline};
use super::ends::Failure;
use super::headcount::{Headcount, Standing};
use super::refusal::Refusals;
use super::slot::{Proc, ProcState, Slot, Sockets, Why};
use super::upgrade::Upgrade;
use super::watch::MEASURE_EVERY;
use super::{Action, Growth, Intake, Killer, Policy, ProcId, Recycle, Scope, Status, Time};
use crate::codec::{words_of_fields, words_of_variants};

/// The slots with their processes, and how far the budget is spent. A reload or an upgrade in progress begins anew, so
/// only the request for it is here.
#[derive(Clone)]
pub(crate) struct Snapshot {
    /// The first fork of a binary on probation that has failed.
    pub(super) newcomers: Option<u64>,
    planned: usize,
    size: usize,
    forks: u64,
    was_complete: bool,
    booted: bool,
    proved_at: Option<Time>,
    slots: Vec<Slot>,
    deadlines: Vec<(Time, Deadline)>,
    counted: Vec<Counted>,
    ever: usize,
    refusals: Option<Refusals>,
    /// Another upgrade was asked for, by this sender.
    next_upgrade: Option<String>,
    /// A reload that is not done was asked for, by this sender.
    pub(super) reload: Option<String>,
}

words_of_fields!(Snapshot {
    newcomers,
    planned,
    size,
    forks,
    was_complete,
    booted,
    proved_at,
    slots,
    deadlines,
    counted,
    ever,
    refusals,
    next_upgrade,
    reload,
});

impl Snapshot {
    /// How many slots are wanted.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The slots that have sockets, where each slot has its own.
    pub(crate) fn slots_with_sockets(&self) -> impl Iterator<Item = usize> {
        self.slots_with(&|slot| slot.sockets == Sockets::Open)
    }

    /// The slots whose sockets are closed, because no worker would serve the connections in their queues.
    pub(crate) fn slots_without_sockets(&self) -> impl Iterator<Item = usize> {
        self.slots_with(&|slot| slot.finished && slot.sockets != Sockets::Open)
    }

    fn slots_with(&self, is_meant: &dyn Fn(&Slot) -> bool) -> std::vec::IntoIter<usize> {
        let mut task_ids = Vec::new();
        for (task_id, slot) in self.slots.iter().enumerate() {
            if is_meant(slot) {
                task_ids.push(task_id);
            }
        }
        task_ids.into_iter()
    }

    /// The processes that were made.
    pub(crate) fn procs(&self) -> impl Iterator<Item = ProcId> {
        let mut procs = Vec::new();
        for slot in &self.slots {
            procs.extend(slot.ids(&|proc| proc.state != ProcState::Forking));
        }
        procs.into_iter()
    }
}

impl Policy {
    /// What the next binary goes on with.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let (counted, ever) = self.budget.snapshot();
        let newcomers = match self.upgrade {
            Some(Upgrade::GoingBack { first_fork, .. }) => Some(first_fork),
            _ => None,
        };
        Snapshot {
            newcomers,
            planned: self.planned,
            size: self.size,
            forks: self.forks,
            was_complete: self.headcount.was_complete(),
            booted: self.booted,
            proved_at: self.proved_at,
            slots: self.slots.to_vec(),
            deadlines: self.deadlines.snapshot(),
            counted,
            ever,
            refusals: self.refusals,
            next_upgrade: self.next_upgrade.clone(),
            reload: self.turns.reload_asked_by().or(self.owed_reload.as_ref()).cloned(),
        }
    }

    /// Goes on with what another binary has left.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        let Snapshot { planned, size, forks, was_complete, booted, proved_at, slots, counted, ever, .. } = snapshot;
        let (refusals, next_upgrade) = (snapshot.refusals, snapshot.next_upgrade);
        self.budget.restore(counted, ever);
        (self.refusals, self.next_upgrade) = (refusals, next_upgrade);
        (self.planned, self.size, self.forks) = (planned, size.min(slots.len()), forks);
        (self.booted, self.proved_at) = (booted, proved_at);
        self.slots.clear();
        self.slots.extend(slots);
        self.headcount = Headcount::adopted(was_complete);
        self.dirty.clear();
        self.dirty.extend(0..self.slots.len());
        for (time, deadline) in snapshot.deadlines {
            self.restore_deadline(time, deadline);
        }
        for task_id in 0..self.slots.len() {
            self.restore_procs(task_id);
            self.restore_sockets(task_id);
            self.touched(task_id);
        }
    }

    fn restore_deadline(&mut self, time: Time, deadline: Deadline) {
        if deadline.slot().is_none_or(|task_id| task_id >= self.slots.len()) {
            return;
        }
        self.deadlines.set(deadline, time);
        if let Deadline::Proc { alarm, .. } = deadline {
            self.watch(alarm);
        }
    }

    fn restore_procs(&mut self, task_id: usize) {
        let slot = &mut self.slots[task_id];
        slot.counted = Standing::default();
        let working = slot.ids(&Proc::is_working);
        for id in slot.ids(&|_| true) {
            self.alive += 1;
            self.actions.push_back(Action::ReadReport(id));
        }
        self.recycle_after_all(task_id);
        for id in working {
            self.rearm_for_options(id);
        }
    }

    /// Opens the sockets that are missing. The new binary steers anew, and does not know which slots take no new
    /// connections.
    fn restore_sockets(&mut self, task_id: usize) {
        let has_sockets = self.rules.slots_have_sockets;
        let slot = &mut self.slots[task_id];
        self.draining += usize::from(slot.drains.is_some());
        match slot.sockets {
            Sockets::Open if has_sockets && slot.intake != Intake::Open => {
                self.actions.push_back(Action::SetIntake(task_id, slot.intake));
            }
            Sockets::Open if has_sockets => {}
            // Slots have no sockets of their own under these options, or this one has none yet.
            Sockets::Open | Sockets::Asked | Sockets::None => {
                slot.sockets = Sockets::None;
                if task_id < self.size && !slot.finished {
                    self.ask_for_sockets(task_id);
                }
            }
        }
    }

    /// The previous binary may have had other options. Heartbeats are watched once the worker's report was read.
    fn rearm_for_options(&mut self, id: ProcId) {
        let (retires, measures) = (self.is_armed(id, Alarm::Retire), self.is_armed(id, Alarm::Measure));
        let Some(proc) = self.proc(id) else { return };
        let born = proc.born;
        let is_recycled = proc.recycle.is_some();
        let age = self.now.since(born);
        match self.rules.max_lifetime {
            None => self.disarm(id, Alarm::Retire),
            Some(max_lifetime) if !retires && !is_recycled => {
                let lifetime = backoff::lifetime(max_lifetime, &mut self.jitter);
                self.arm(id, Alarm::Retire, lifetime.saturating_sub(age));
            }
            Some(_) => {}
        }
        match self.rules.max_memory {
            None => self.disarm(id, Alarm::Measure),
            Some(_) if !measures && !is_recycled => self.arm(id, Alarm::Measure, MEASURE_EVERY),
            Some(_) => {}
        }
        if self.rules.heartbeat_timeout.is_none() {
            self.disarm(id, Alarm::Heartbeat);
        }
    }
}

words_of_fields!(Slot {
    current,
    beside,
    starts,
    backoff,
    refusals,
    boot_failures,
    finished,
    is_added,
    counted,
    sockets,
    intake,
    drains,
});
words_of_fields!(Backoff { is_replacement, quick_ends });
words_of_variants!(Standing { Uncounted, Ready, Finished });
words_of_variants!(Sockets { None, Asked, Open });
words_of_variants!(Intake { Open, Away, Closed });
words_of_fields!(Proc {
    id,
    born,
    state,
    grace,
    says_ready,
    ready_since,
    last_heartbeat,
    was_silent,
    terminated,
    recycle,
    inspected_for,
    held,
    dumps_until,
    is_overdue,
});
words_of_fields!(ProcId { task_id, fork });
words_of_fields!(Refusals { since, forks, counts });
words_of_fields!(Counted { when, task_id, failure });
words_of_variants!(ProcState { Forking, Starting, Ready, Ending(why), Killed(why) });
words_of_variants!(Why { Stop, Turn, Surplus, Hung, NotReady });
words_of_variants!(Deadline {
    Start(task_id),
    Proc { id, alarm },
    Queue(task_id),
    Stop,
    Kill,
    LeaveBehind,
    Rehearsal,
    Awake,
});
words_of_variants!(Alarm { Ready, Trial, Heartbeat, Measure, Retire, Recycle, Kill, Overdue });
words_of_fields!(Time { 0 });
words_of_variants!(Recycle { Asked, Lifetime, Memory { used, max_memory } });
words_of_variants!(Failure { Ended(status), Hung(status), NotReady, CannotFork });
words_of_variants!(Status { Exited(code), Killed { signal, dumped_core }, KilledByOthers(killer) });
words_of_variants!(Killer { OutOfMemory(growth), Unknown });
words_of_fields!(Growth { counter, from, to });
words_of_variants!(Scope { Cgroup, Kernel });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{read, written};

    #[test]
    fn every_kind_of_failure_comes_back() {
        let out_of_memory = |counter| Killer::OutOfMemory(Growth { counter, from: 7, to: 9 });
        let statuses = [
            Status::Exited(-1),
            Status::Killed { signal: 11, dumped_core: true },
            Status::Killed { signal: 37, dumped_core: false },
            Status::KilledByOthers(Killer::Unknown),
            Status::KilledByOthers(out_of_memory(Scope::Cgroup)),
            Status::KilledByOthers(out_of_memory(Scope::Kernel)),
        ];
        let ended = statuses.iter().flat_map(|&status| [Failure::Ended(status), Failure::Hung(status)]);
        for failure in ended.chain([Failure::NotReady, Failure::CannotFork]) {
            assert_eq!(read(&written(&failure)), Some(failure));
        }
        for recycle in [Recycle::Asked, Recycle::Lifetime, Recycle::Memory { used: 2, max_memory: 1 }] {
            assert_eq!(read(&written(&recycle)), Some(recycle));
        }
        assert_eq!(read::<Failure>("NotReady Exited 1"), None);
        assert_eq!(read::<ProcState>("Ending Early"), None);
    }
}
