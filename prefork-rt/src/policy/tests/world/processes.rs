//! What processes do: they are forked, get signals, report, and end.

use super::super::super::ends::BOOT;
use super::super::super::*;
use super::life::{End, Fork, NORMAL};
use super::{Alive, Deed, Kind, World};
use crate::grammar::Reload;
use std::io;

impl World {
    pub(super) fn fork(&mut self, proc: ProcId, restarts: usize) {
        let task_id = proc.task_id;
        self.deeds.push((self.now, Deed::Fork(task_id)));
        self.forks_before_stop += usize::from(self.stop_at.is_some());
        let others: Vec<ProcId> = self.alive_of(task_id);
        let incoming = others.iter().any(|&other| !self.is_told(other));
        assert!(self.fate.is_none(), "a fork after all is decided: {:?}", self.fate);
        assert!(task_id < self.size || self.draining.contains_key(&task_id), "task id {task_id} is not wanted");
        let slots_have_sockets = self.policy.rules.slots_have_sockets;
        assert_eq!(self.intakes.contains_key(&task_id), slots_have_sockets, "the sockets of {task_id}");
        assert!(!self.tasks[task_id].finished, "task id {task_id} has finished");
        assert_eq!(restarts, self.tasks[task_id].starts);
        match self.policy.rules.reload {
            Reload::Exclusive => assert!(others.is_empty(), "two processes for task id {task_id}"),
            Reload::Overlap => assert!(others.len() < 2, "three processes for task id {task_id}"),
        }
        if incoming {
            self.check_width();
        } else {
            let spared = others.iter().any(|other| self.alive[other].excused);
            assert!(!spared, "task id {task_id} is started beside a surplus worker");
        }
        let decides = self.decides(proc.fork);
        let recycles = incoming && self.is_recycled(task_id);
        let task = &mut self.tasks[task_id];
        let first = task.starts == 0 && task_id < self.policy.rules.workers;
        let fork = (self.script)(task_id, task.forks);
        task.forks += 1;
        match fork {
            Fork::Runs(life) => {
                task.starts += 1;
                (task.added, task.refused) = (false, false);
                let on_trial = decides && !self.policy.rules.readiness.is_announced();
                let at_fork = self.policy.rules.readiness == Readiness::AtFork;
                let ready = at_fork && !on_trial;
                let on_trial_until = if on_trial { self.now + BOOT } else { self.now };
                let alive = Alive {
                    task_id,
                    fork: proc.fork,
                    at_fork,
                    born: self.now,
                    life,
                    told: Vec::new(),
                    ready: false,
                    asked: false,
                    waits: false,
                    stays: false,
                    incoming,
                    recycles,
                    excused: false,
                    dismissed: false,
                    overdue: false,
                    on_trial_until,
                };
                assert!(self.alive.insert(proc, alive).is_none(), "{proc:?} is used twice");
                self.schedule(proc, life.alone);
                let trial = on_trial.then_some(BOOT);
                let reports = [life.ready, life.recycle, life.heartbeats.map(|(from, ..)| from), trial];
                for report in reports.into_iter().flatten() {
                    self.coming.insert((self.now + report, Kind::Reports, proc), NORMAL);
                }
                if let (Some(at), Some((after, status))) = (life.operator, life.terminated) {
                    self.schedule(proc, Some((at + after, status)));
                }
                if ready {
                    self.is_ready(proc);
                }
                self.handle(Event::Forked(proc));
            }
            Fork::Refused => {
                if others.is_empty() {
                    task.empty_since = self.now;
                }
                task.refused = !incoming;
                self.awaiting.remove(&task_id);
                let added = self.tasks.get(task_id..self.size).is_some_and(|added| added.iter().all(|task| task.added));
                self.failed |= decides;
                let mut fate = None;
                if decides {
                    // Only the upgrade ends.
                } else if added && task_id < self.size {
                    (task_id..self.size).for_each(|task_id| self.excuse(task_id));
                    self.size = task_id;
                } else if first {
                    fate = Some("cannot fork");
                } else if !incoming && self.alive.is_empty() {
                    self.count_failure(task_id);
                }
                fate.into_iter().for_each(|fate| self.decide(fate));
                self.handle(Event::ForkFailed(proc, io::ErrorKind::WouldBlock.into()));
            }
            Fork::Unsafe => {
                self.decide("unsafe");
                self.handle(Event::ForkUnsafe(proc, "a thread".to_owned()));
            }
        }
    }

    pub(super) fn signal(&mut self, proc: ProcId, signal: Signal) {
        // The process may have ended since.
        let Some(alive) = self.alive.get(&proc) else { return };
        let task_id = alive.task_id;
        assert!(alive.told.iter().all(|&(before, _)| rank(before) < rank(signal)), "{signal:?} after {:?}", alive.told);
        if signal == Signal::Terminate && self.fate.is_none() && !alive.excused && !alive.dismissed {
            assert!(!self.draining.contains_key(&task_id), "{task_id} has not drained");
            self.check_turn(proc);
        }
        let Some(alive) = self.alive.get_mut(&proc) else { return };
        alive.told.push((signal, self.now));
        let (deed, end) = match signal {
            Signal::Terminate => (Deed::Terminate(task_id), alive.life.terminated),
            Signal::Abort => (Deed::Abort(task_id), alive.life.aborted),
            Signal::Kill => (Deed::Kill(task_id), alive.life.killed),
        };
        self.deeds.push((self.now, deed));
        self.schedule(proc, end);
    }

    pub(super) fn schedule(&mut self, proc: ProcId, end: End) {
        if let Some((after, status)) = end {
            let count = u8::try_from(self.coming.len() % 200).unwrap_or_default();
            self.coming.insert((self.now.saturating_add(after), Kind::Ends(count), proc), status);
        }
    }

    /// Tells the policy what a process reports.
    pub(super) fn read_report(&mut self, proc: ProcId) {
        let Some(report) = self.report(proc) else { return };
        let is_at_fork = self.alive.get(&proc).is_some_and(|alive| alive.at_fork);
        let was_on_trial = self.alive.get(&proc).is_some_and(|alive| alive.on_trial_until > alive.born);
        let is_on_trial = self.alive.get(&proc).is_some_and(|alive| alive.on_trial_until > self.now);
        if (report.ready || is_at_fork && was_on_trial) && !is_on_trial && !self.is_told(proc) {
            self.is_ready(proc);
        }
        if let Some(alive) = self.alive.get_mut(&proc) {
            alive.asked |= report.recycle;
            alive.waits |= report.recycle && !alive.stays;
        }
        self.handle(Event::Reported(proc, report));
    }

    pub(super) fn report(&self, proc: ProcId) -> Option<Reported> {
        let alive = self.alive.get(&proc)?;
        let life = alive.life;
        let stops = || self.stops.iter().filter(|&&(when, _)| when >= alive.born);
        let age = self.now - alive.born - stops().map(|&(_, duration)| duration).sum();
        let since = |at: Option<Duration>| at.and_then(|at| age.checked_sub(at));
        let terminated = alive.told.iter().find(|&&(signal, _)| signal == Signal::Terminate);
        let heartbeat = life.heartbeats.filter(|&(from, ..)| from <= age).map(|(from, every, until)| {
            let beating = age.min(until).saturating_sub(from).as_nanos();
            let last = from + Duration::from_nanos((beating - beating % every.as_nanos()) as u64);
            // The stops so far count for the age of a heartbeat, not for how long the worker has lived.
            let when = stops().fold(alive.born + last, |at, &(when, stop)| if when < at { at + stop } else { at });
            self.now - when
        });
        Some(Reported {
            ready: since(life.ready).is_some(),
            recycle: since(life.recycle).is_some(),
            terminated: terminated.map(|&(_, when)| self.now - when).or(since(life.operator)),
            heartbeat,
        })
    }

    pub(super) fn measure(&mut self, proc: ProcId) {
        let Some(alive) = self.alive.get(&proc) else { return };
        let (bytes, per_second) = alive.life.memory;
        let age = (self.now - alive.born).as_secs();
        self.handle(Event::Measured(proc, bytes.saturating_add(per_second.saturating_mul(age))));
    }

    pub(super) fn is_ready(&mut self, proc: ProcId) {
        let is_newcomer = self.is_newcomer(proc.fork);
        // Where the new binary has failed already, its worker is ready too late.
        let is_late = is_newcomer && self.is_going_back();
        let Some(alive) = self.alive.get_mut(&proc) else { return };
        if !std::mem::replace(&mut alive.ready, true) {
            alive.incoming &= is_late;
            self.accepted |= is_newcomer && !is_late;
            let task = &mut self.tasks[proc.task_id];
            task.newest_ready = task.newest_ready.max(Some(proc));
            if self.policy.rules.readiness.is_announced() {
                task.boot_failures = 0;
            }
            self.awaiting.remove(&proc.task_id);
        }
    }

    pub(super) fn end(&mut self, proc: ProcId, status: Status) {
        if !self.alive.contains_key(&proc) {
            return;
        }
        self.read_report(proc);
        let told = self.told(proc);
        let Some(gone) = self.alive.remove(&proc) else { return };
        let task_id = gone.task_id;
        if !told.contains(&Signal::Terminate) {
            self.awaiting.remove(&task_id);
        }
        if self.alive_of(task_id).is_empty() {
            self.tasks[task_id].empty_since = self.now;
        }
        if self.fate.is_none() {
            self.count_end(&gone, &told, status);
        }
        let abandons = |action: &Action| matches!(action, Action::Tell(Notice::ReloadFailed { .. }));
        let is_abandoned = self.policy.actions.iter().any(abandons);
        for alive in self.alive.values_mut().filter(|alive| alive.task_id == task_id) {
            // The replacement takes over, unless it is told to end because the reload is abandoned.
            alive.dismissed |= std::mem::take(&mut alive.incoming) && is_abandoned && !alive.recycles;
        }
        self.handle(Event::Ended(proc, status));
    }

    /// The signals that it was sent, or is about to be.
    pub(super) fn told(&self, proc: ProcId) -> Vec<Signal> {
        let about_to = self.policy.actions.iter().filter_map(|action| match action {
            Action::Signal(to, signal) if *to == proc => Some(*signal),
            _ => None,
        });
        let told = self.alive.get(&proc).into_iter().flat_map(|alive| alive.told.iter().map(|&(signal, _)| signal));
        told.chain(about_to).collect()
    }

    pub(super) fn is_told(&self, proc: ProcId) -> bool {
        !self.told(proc).is_empty()
    }
}

fn rank(signal: Signal) -> u8 {
    match signal {
        Signal::Terminate => 0,
        // A worker that was told to end is not watched any more.
        Signal::Abort => 1,
        Signal::Kill => 2,
    }
}
