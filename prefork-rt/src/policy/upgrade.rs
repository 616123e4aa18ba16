//! Going on as another binary: when that may be, whether it was good, and the way back.
//!
//! Where readiness is not announced, the first worker of a new binary has to live for a moment before it counts as
//! ready.

use std::time::Duration;

use super::deadlines::Deadline;
use super::ends::BOOT;
use super::notice::{Notice, TurnFailure};
use super::slot::{Proc, ProcState, Slot, Why};
use super::start::Place;
use super::{Action, Phase, Policy, ProcId, Readiness, Rules, Snapshot, Time};
use crate::sys::Uncopied;

/// How long a rehearsal may take: `preload` may have much to read.
const REHEARSAL: Duration = Duration::from_secs(60);

/// The steps of an upgrade.
#[derive(Debug)]
pub(super) enum Upgrade {
    Rehearsing,
    /// The rehearsal was good. The upgrade waits until no worker is being replaced.
    Due,
    /// The supervisor is replacing itself, or will say why it cannot.
    UnderWay,
    /// This is the new binary. The first worker of those forked from here on decides whether it stays.
    OnProbation {
        first_fork: u64,
    },
    /// The new binary stays.
    Committed,
    /// The rest of the workers are being replaced.
    Replacing,
    /// The new binary has failed, and does nothing else before it is gone. `why` is taken when the policy asks to go
    /// back.
    GoingBack {
        first_fork: u64,
        why: Option<(usize, TurnFailure)>,
    },
}

/// How a binary came to supervise workers that another one has started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Succession {
    /// The binary is new.
    Forwards,
    /// The binary was there before, and the new one has failed for this reason.
    Back { why: String },
}

impl Policy {
    /// Goes on where another binary has stopped.
    pub(crate) fn adopt(
        rules: Rules,
        snapshot: Snapshot,
        now: Time,
        succession: Succession,
        memory: &Uncopied,
    ) -> Policy {
        let (newcomers, reload) = (snapshot.newcomers, snapshot.reload.clone());
        let mut policy = Policy::new(rules, memory);
        policy.now = now;
        policy.restore(snapshot);
        let alive = policy.alive;
        match succession {
            Succession::Forwards => {
                policy.upgrade = Some(Upgrade::OnProbation { first_fork: policy.forks });
                policy.owed_reload = reload;
                policy.tell(Notice::Upgraded { alive, width: policy.width_once_proved() });
                policy.replace_all(None);
            }
            Succession::Back { why } => {
                policy.tell(Notice::WentBack { why, alive });
                policy.dismiss(&|_, proc| newcomers.is_some_and(|first_fork| proc.id.fork >= first_fork));
                policy.await_leavers();
                if let Some(by) = reload {
                    policy.ask_reload(by);
                }
            }
        }
        policy
    }

    pub(super) fn ask_upgrade(&mut self, by: String) {
        match self.upgrade {
            // The file on disk may be newer than what was rehearsed.
            None | Some(Upgrade::Due) => self.begin_upgrade(by),
            Some(
                Upgrade::Rehearsing
                | Upgrade::UnderWay
                | Upgrade::OnProbation { .. }
                | Upgrade::Committed
                | Upgrade::Replacing
                | Upgrade::GoingBack { .. },
            ) => {
                self.next_upgrade = Some(by.clone());
                self.tell(Notice::UpgradeQueued { by });
            }
        }
    }

    fn begin_upgrade(&mut self, by: String) {
        self.next_upgrade = None;
        self.upgrade = Some(Upgrade::Rehearsing);
        self.tell(Notice::Upgrading { by });
        self.actions.push_back(Action::Rehearse);
        self.deadlines.set(Deadline::Rehearsal, self.now.after(self.rehearsal_timeout()));
    }

    pub(super) fn rehearsed(&mut self, result: Result<(), String>) {
        if !matches!(self.upgrade, Some(Upgrade::Rehearsing)) {
            return;
        }
        self.deadlines.clear(Deadline::Rehearsal);
        match result {
            // Where another upgrade was asked for, the file on disk may be newer, and is rehearsed instead.
            Ok(()) => self.upgrade = self.next_upgrade.is_none().then_some(Upgrade::Due),
            Err(why) => self.upgrade_failed(why),
        }
    }

    pub(super) fn rehearsal_is_late(&mut self) {
        self.actions.push_back(Action::EndRehearsal);
        let seconds = self.rehearsal_timeout().as_secs();
        self.upgrade_failed(format!("its rehearsal (PREFORK=check) did not end within {seconds} s, and was killed"));
    }

    /// This binary was not replaced, and goes on.
    pub(super) fn not_replaced(&mut self, why: String) {
        match self.upgrade {
            Some(Upgrade::UnderWay) => self.upgrade_failed(why),
            Some(Upgrade::GoingBack { first_fork, .. }) => {
                self.upgrade = None;
                self.tell(Notice::CannotGoBack { why });
                self.stay_after_failing(first_fork);
                self.await_leavers();
                for task_id in 0..self.slots.len() {
                    self.recycle_after_all(task_id);
                }
                if let Some(by) = self.owed_reload.take() {
                    self.ask_reload(by);
                }
            }
            _ => {}
        }
    }

    /// This binary goes on though its first worker has failed. A new worker that has a slot for itself goes on, too.
    fn stay_after_failing(&mut self, first_fork: u64) {
        self.dirty.extend(0..self.slots.len());
        self.dismiss(&|place, proc| place == Place::Beside && proc.id.fork >= first_fork);
    }

    /// A stop was asked for, and the pool serves on until it begins. It does so with this binary.
    pub(super) fn end_upgrade_before_a_stop(&mut self) {
        let failed = match self.upgrade {
            Some(Upgrade::GoingBack { first_fork, .. }) => Some(first_fork),
            Some(
                Upgrade::Rehearsing
                | Upgrade::Due
                | Upgrade::UnderWay
                | Upgrade::OnProbation { .. }
                | Upgrade::Committed
                | Upgrade::Replacing,
            )
            | None => None,
        };
        self.forget_upgrade();
        if let Some(first_fork) = failed {
            self.stay_after_failing(first_fork);
        }
    }

    /// Takes the next step of an upgrade, if it waits for nothing. Says whether it did.
    pub(super) fn go_on_with_upgrade(&mut self) -> bool {
        let is_running = matches!(self.phase, Phase::Running);
        match &mut self.upgrade {
            Some(Upgrade::GoingBack { why, .. }) if is_running => {
                let Some((task_id, why)) = why.take() else { return false };
                self.actions.push_back(Action::GoBack { task_id, why });
            }
            Some(Upgrade::Due) if is_running && self.turns.is_idle() => {
                self.upgrade = Some(Upgrade::UnderWay);
                self.actions.push_back(Action::Upgrade);
            }
            Some(Upgrade::Committed) => {
                // Where the reload has failed already, there is nothing more to do.
                self.upgrade = self.turns.have_reload().then_some(Upgrade::Replacing);
                self.owed_reload = None;
                self.actions.push_back(Action::Commit);
                // A size that signals have set holds as long as the option `workers` stays the same.
                if std::mem::replace(&mut self.planned, self.rules.workers) != self.rules.workers {
                    self.scale_to(self.rules.workers, "the new binary".to_owned());
                }
                self.exit_if_over();
            }
            None if is_running && self.next_upgrade.is_some() => {
                if let Some(by) = self.next_upgrade.take() {
                    self.begin_upgrade(by);
                }
            }
            _ => return false,
        }
        true
    }

    pub(super) fn is_on_probation(&self) -> bool {
        matches!(self.upgrade, Some(Upgrade::OnProbation { .. }))
    }

    /// Whether the new binary stays or falls with this process.
    pub(super) fn decides_upgrade(&self, id: ProcId) -> bool {
        matches!(self.upgrade, Some(Upgrade::OnProbation { first_fork }) if id.fork >= first_fork)
    }

    /// The new binary stays, but has not applied its own number of workers yet.
    pub(super) fn has_just_committed(&self) -> bool {
        matches!(self.upgrade, Some(Upgrade::Committed))
    }

    /// Whether this process is of a binary that has failed, and is not needed any more.
    pub(super) fn is_given_up(&self, id: ProcId) -> bool {
        matches!(self.upgrade, Some(Upgrade::GoingBack { first_fork, .. }) if id.fork >= first_fork)
    }

    /// The next binary takes over as soon as no worker is being replaced.
    pub(super) fn is_upgrade_due(&self) -> bool {
        matches!(self.upgrade, Some(Upgrade::Due))
    }

    pub(super) fn is_going_back(&self) -> bool {
        matches!(self.upgrade, Some(Upgrade::GoingBack { .. }))
    }

    /// A process is ready. If the upgrade depends on it, the new binary stays.
    pub(super) fn commit_upgrade(&mut self, id: ProcId) {
        if self.decides_upgrade(id) {
            self.upgrade = Some(Upgrade::Committed);
        }
    }

    /// The new binary's first worker has failed.
    pub(super) fn go_back(&mut self, task_id: usize, why: TurnFailure) {
        let Some(Upgrade::OnProbation { first_fork }) = self.upgrade else { return };
        self.give_turns_up();
        self.upgrade = Some(Upgrade::GoingBack { first_fork, why: Some((task_id, why)) });
    }

    /// The binary is on probation with no old worker left to replace. Where SIGKILL has not ended the processes that
    /// are there, and no slot will get a worker otherwise, the new binary cannot prove itself and goes back.
    pub(super) fn go_back_if_nothing_goes_on(&mut self) {
        let is_wanted = |task_id, slot: &Slot| task_id < self.size || slot.drains.is_some();
        let mut slots = self.slots.iter().enumerate();
        if slots.any(|(task_id, slot)| is_wanted(task_id, slot) && slot.goes_on()) {
            return;
        }
        if let Some(&worker) = self.ids(&|proc| proc.is_overdue).first() {
            self.go_back(worker.task_id, TurnFailure::Overdue { worker });
        }
    }

    /// The workers of the previous binary are replaced, or that was given up. Says whether there was an upgrade to end.
    pub(super) fn end_upgrade(&mut self) -> bool {
        self.upgrade.take_if(|upgrade| matches!(upgrade, Upgrade::Replacing)).is_some()
    }

    /// Forgets the upgrade, because the pool stops.
    pub(super) fn forget_upgrade(&mut self) {
        (self.next_upgrade, self.owed_reload) = (None, None);
        if let Some(Upgrade::Rehearsing) = self.upgrade.take() {
            self.actions.push_back(Action::EndRehearsal);
        }
    }

    fn upgrade_failed(&mut self, why: String) {
        self.upgrade = None;
        self.tell(Notice::UpgradeFailed { why });
    }

    fn rehearsal_timeout(&self) -> Duration {
        match self.rules.readiness {
            Readiness::Announced(ready_timeout) => REHEARSAL.max(ready_timeout),
            Readiness::AtFork | Readiness::AtBody => REHEARSAL + BOOT,
        }
    }

    /// Tells workers of the binary that has failed to end, in a way that none of them is missed.
    fn dismiss(&mut self, is_dismissed: &dyn Fn(Place, &Proc) -> bool) {
        let mut dismissed = Vec::new();
        for slot in self.slots.iter() {
            for (place, proc) in [(Place::Current, &slot.current), (Place::Beside, &slot.beside)] {
                match proc {
                    Some(proc) if is_dismissed(place, proc) => dismissed.push(proc.id),
                    Some(_) | None => {}
                }
            }
        }
        for id in dismissed {
            self.terminate(id, Why::Turn);
        }
    }

    /// Delays the next turn until all processes that were told to end for a turn have ended.
    fn await_leavers(&mut self) {
        let is_told = |proc: &Proc| matches!(proc.state, ProcState::Ending(Why::Turn) | ProcState::Killed(Why::Turn));
        for id in self.ids(&|proc| is_told(proc) && !proc.is_overdue) {
            self.wait_until_gone(id);
        }
    }
}
