//! What the end of a worker means, and what follows: the worker has finished, is replaced, or was one too many.

use std::time::Duration;

use super::budget::Spent;
use super::notice::{GiveUp, Notice, TurnFailure};
use super::slot::{Proc, ProcState, Why};
use super::{Exit, Policy, ProcId, Recycle, Rules, Status, Time};
use crate::exit_status::EXIT_GIVE_UP;
use crate::grammar::Restart;

/// Where readiness is not announced, a worker that lived this long has booted.
pub(super) const BOOT: Duration = Duration::from_secs(1);
/// This many failures to boot in a row are no accident.
const BOOT_FAILURES: u32 = 2;

/// Why a worker's end counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Ended(Status),
    Hung(Status),
    NotReady,
    CannotFork,
}

/// Why a worker is replaced though it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neutral {
    /// `restart = "always"` asks for it.
    Always,
    /// A process other than the supervisor sent it SIGTERM.
    Terminated,
    /// It asked to be replaced, and did not wait for its turn.
    Recycled,
}

/// What a worker's end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// A normal exit, which is final.
    Finished,
    /// It is replaced, and that counts.
    Failed(Failure),
    /// It is replaced, and that does not count.
    Neutral(Neutral),
    /// It was told to end, and is not missed.
    Expected,
    /// It was told to end for the sake of its replacement.
    Replaced,
    /// It asks for no further try.
    Final,
}

/// What the end of a worker means, but for one of a binary that has failed, and for one that began a turn and was not
/// ready: those are decided in [`Policy::ended`] first.
fn classify(proc: &Proc, status: Status, now: Time, rules: &Rules) -> Class {
    let terminated = |grace: Duration| proc.terminated.is_some_and(|when| now.since(when) <= grace);
    match (proc.state, status) {
        (ProcState::Ending(why) | ProcState::Killed(why), _) => match why {
            Why::Stop | Why::Surplus => Class::Expected,
            Why::Turn => Class::Replaced,
            Why::Hung => Class::Failed(Failure::Hung(status)),
            Why::NotReady => Class::Failed(Failure::NotReady),
        },
        (_, Status::Exited(0)) if terminated(rules.graceful_timeout) => Class::Neutral(Neutral::Terminated),
        (_, Status::Exited(0)) if proc.recycle == Some(Recycle::Asked) => Class::Neutral(Neutral::Recycled),
        (_, Status::Exited(0)) if rules.restart == Restart::Always => Class::Neutral(Neutral::Always),
        (_, Status::Exited(0)) => Class::Finished,
        (_, Status::Exited(code)) if code == i32::from(EXIT_GIVE_UP) => Class::Final,
        _ => Class::Failed(Failure::Ended(status)),
    }
}

impl Policy {
    pub(super) fn ended(&mut self, id: ProcId, status: Status) {
        if self.made(id).is_none() {
            return;
        }
        let (is_incoming, is_awaited) = (self.is_incoming(id), self.awaits_ready(id));
        self.disarm_all(id);
        let Some(proc) = self.slots[id.task_id].take(id) else { return };
        self.alive -= 1;
        let up = self.now.since(proc.born);
        self.booted |= up >= BOOT;
        let class = classify(&proc, status, self.now, &self.rules);
        let failure = if let Class::Failed(failure) = class { failure } else { Failure::Ended(status) };
        if self.decides_upgrade(id) && proc.ready_since.is_none() && !matches!(class, Class::Expected | Class::Replaced)
        {
            self.take_over(id.task_id);
            self.go_back(id.task_id, TurnFailure::Failed { worker: id, failure, up });
        } else if self.is_given_up(id) {
            // It is of a binary that has failed, so its end means nothing.
            self.tell(Notice::Replaced { worker: id, status, up });
        } else if is_incoming {
            self.turn_failed(id.task_id, TurnFailure::Failed { worker: id, failure, up });
        } else {
            self.take_over(id.task_id);
            match class {
                // A worker that exits 0 while draining gives up its queue.
                Class::Finished if self.drains(id.task_id) => {
                    self.tell(Notice::Stopped { worker: id, status, up });
                    self.end_drain(id.task_id);
                }
                Class::Finished => self.worker_finished(id, up),
                Class::Failed(failure) => self.worker_failed(&proc, failure, up),
                Class::Neutral(why) => self.worker_ended(&proc, why, up),
                Class::Final => self.give_up(id, failure, up, GiveUp::Final),
                Class::Expected => {
                    self.tell(Notice::Stopped { worker: id, status, up });
                    self.dirty.push_back(id.task_id);
                }
                Class::Replaced => {
                    self.tell(Notice::Replaced { worker: id, status, up });
                    self.dirty.push_back(id.task_id);
                }
            }
            self.turn_ended(id);
            if is_awaited && class == Class::Finished {
                self.cancel_turn(id.task_id);
            } else if is_awaited {
                self.turn_failed(id.task_id, TurnFailure::Failed { worker: id, failure, up });
            }
        }
        self.touched(id.task_id);
        self.close_sockets_if_left(id.task_id);
        self.exit_if_over();
    }

    fn worker_finished(&mut self, worker: ProcId, up: Duration) {
        let slot = &mut self.slots[worker.task_id];
        slot.finished = true;
        let has_replacement = slot.current.is_some();
        let others: Vec<ProcId> = slot.ids(&|_| true);
        self.count(worker.task_id);
        self.tell(Notice::Finished { worker, up, left: self.size - self.headcount.finished() });
        if has_replacement {
            self.cancel_turn(worker.task_id);
        }
        // The work is done and not repeated. A predecessor that is being killed is not missed either.
        for other in others {
            self.terminate(other, Why::Surplus);
        }
    }

    fn worker_ended(&mut self, proc: &Proc, why: Neutral, up: Duration) {
        let task_id = proc.id.task_id;
        self.count_end(proc, up);
        if why == Neutral::Always && self.cannot_boot(proc, up) {
            return self.give_up(proc.id, Failure::Ended(Status::Exited(0)), up, GiveUp::Boot);
        }
        let (delay, successor) = (self.backoff(task_id), self.successor(task_id));
        self.tell(Notice::StartingAgain { worker: proc.id, why, up, delay, successor });
        self.start_after(task_id, delay);
    }

    fn worker_failed(&mut self, proc: &Proc, failure: Failure, up: Duration) {
        let (worker, task_id) = (proc.id, proc.id.task_id);
        self.count_end(proc, up);
        let cannot_boot = self.cannot_boot(proc, up);
        let spent = self.budget.spend(self.now, task_id, failure);
        if cannot_boot {
            return self.give_up(worker, failure, up, GiveUp::Boot);
        }
        let spent = match spent {
            Ok(spent) => spent,
            Err(spent) => return self.give_up(worker, failure, up, GiveUp::Budget(spent)),
        };
        let (delay, successor) = (self.backoff(task_id), self.successor(task_id));
        self.tell(Notice::Restarting { worker, failure, up, delay, spent, successor });
        self.tell_if_boot_looks_broken(task_id);
        self.tell_if_low(spent);
        self.start_after(task_id, delay);
    }

    /// The replacement that stood beside the worker that has ended.
    fn successor(&self, task_id: usize) -> Option<ProcId> {
        self.slots[task_id].current.as_ref().map(|proc| proc.id)
    }

    /// Whether this end proves that the service cannot boot. Only the end of a worker that announces its readiness can
    /// prove it, before the whole pool was ready once.
    fn cannot_boot(&mut self, proc: &Proc, up: Duration) -> bool {
        let announced = self.rules.readiness.is_announced();
        let booted = if announced { proc.ready_since.is_some() } else { up >= BOOT };
        let slot = &mut self.slots[proc.id.task_id];
        slot.boot_failures = if booted { 0 } else { slot.boot_failures.saturating_add(1) };
        announced && !self.headcount.was_complete() && slot.boot_failures >= BOOT_FAILURES
    }

    fn tell_if_boot_looks_broken(&mut self, task_id: usize) {
        let announced = self.rules.readiness.is_announced();
        if announced || self.booted || self.slots[task_id].boot_failures < BOOT_FAILURES {
            return;
        }
        let now = self.now;
        let none_has_booted = self.ids(&|proc| now.since(proc.born) >= BOOT).is_empty();
        // The answer is known from here on, so all slots are scanned once only.
        self.booted = true;
        if none_has_booted {
            self.tell(Notice::BootLooksBroken { task_id });
        }
    }

    pub(super) fn tell_if_low(&mut self, spent: Spent) {
        if spent.is_low() {
            self.tell(Notice::BudgetLow { spent });
        }
    }

    pub(super) fn tell_shares(&mut self) {
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
}
