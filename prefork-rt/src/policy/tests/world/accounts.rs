//! What the world counts by itself: which slots are wanted, what an end means, and how the pool must end.

use super::super::super::ends::BOOT;
use super::super::super::*;
use super::life::{FINAL, NORMAL};
use super::{Alive, Task, World};
use crate::grammar::Restart;
use std::collections::BTreeSet;

impl World {
    pub(super) fn add_task(&mut self) {
        if self.draining.remove(&self.size).is_some() {
            self.size += 1;
            return;
        }
        let fresh = Task { empty_since: self.now, ..Task::default() };
        self.tasks.resize(self.tasks.len().max(self.size + 1), fresh.clone());
        let task = &mut self.tasks[self.size];
        *task = Task { forks: task.forks, starts: task.starts, added: true, ..fresh };
        self.size += 1;
    }

    pub(super) fn remove_task(&mut self) {
        self.size -= 1;
        self.drop_last();
        self.awaiting.remove(&self.size);
    }

    /// The new binary may want more workers, or fewer. The policy decided that at the time that it last knew.
    pub(super) fn plan(&mut self, workers: usize) {
        let now = std::mem::replace(&mut self.now, self.policy.now.0);
        self.scale_to(workers);
        self.now = now;
        self.finish_if_over();
    }

    pub(super) fn scale_to(&mut self, workers: usize) {
        let before = std::mem::replace(&mut self.planned, workers);
        let to = workers.clamp(1, self.policy.rules.most_workers);
        while before != workers && self.size < to {
            self.add_task();
        }
        while before != workers && self.size > to {
            self.remove_task();
        }
    }

    /// The last slot is not wanted any more.
    pub(super) fn drop_last(&mut self) {
        let (task_id, task) = (self.size, &self.tasks[self.size]);
        if !self.intakes.contains_key(&task_id) || task.finished || task.added {
            return self.excuse(task_id);
        }
        let until = self.now.saturating_add(self.policy.rules.graceful_timeout);
        self.draining.insert(task_id, (self.now, until));
        for proc in self.alive_of(task_id) {
            let is_of_no_use = self.is_told(proc) || self.alive[&proc].incoming;
            self.alive.get_mut(&proc).expect("it is alive").excused |= is_of_no_use;
        }
    }

    /// How the pool ends, where that is not decided yet. A stop that was asked for and delayed comes before.
    pub(super) fn decide(&mut self, fate: &'static str) {
        self.fate = self.fate.or(Some(if self.stop_at.is_some() { "stopped" } else { fate }));
    }

    /// A stop was asked for, and begins after a while. No turn goes on that may go back, and no upgrade.
    pub(super) fn begin_delay(&mut self) {
        self.stop_at = Some(self.now.saturating_add(self.policy.rules.drain_delay));
        self.reload_is_open = false;
        (self.newcomers, self.failed) = (None, false);
        for alive in self.alive.values_mut() {
            alive.dismissed |= std::mem::take(&mut alive.incoming);
        }
        self.finish_if_over();
    }

    /// What an end means, by rules written down once more.
    pub(super) fn count_end(&mut self, gone: &Alive, told: &[Signal], status: Status) {
        let is_told = gone.excused || told.contains(&Signal::Terminate);
        let decides = self.decides(gone.fork) && !gone.ready;
        self.failed |= decides && !is_told;
        let is_given_up = decides || self.is_going_back() && self.is_newcomer(gone.fork);
        let rules = &self.policy.rules;
        let always = rules.restart == Restart::Always;
        let by_operator = gone.life.operator.is_some_and(|at| {
            let when = gone.born + at;
            when <= self.now && self.now - when <= rules.graceful_timeout
        });
        if is_told || gone.incoming || gone.dismissed || is_given_up {
            return;
        }
        match status {
            _ if !told.is_empty() => self.count_failed(gone),
            NORMAL if by_operator || gone.asked => {}
            NORMAL if always => self.count_boot(gone),
            NORMAL if self.draining.remove(&gone.task_id).is_some() => self.excuse(gone.task_id),
            NORMAL => {
                self.tasks[gone.task_id].finished = true;
                self.excuse(gone.task_id);
            }
            FINAL => self.decide("gave up"),
            _ => self.count_failed(gone),
        }
    }

    pub(super) fn count_failed(&mut self, gone: &Alive) {
        self.count_failure(gone.task_id);
        self.count_boot(gone);
    }

    pub(super) fn count_boot(&mut self, gone: &Alive) {
        let announced = self.policy.rules.readiness.is_announced();
        let booted = if announced { gone.ready } else { self.now - gone.born >= BOOT };
        let task = &mut self.tasks[gone.task_id];
        task.boot_failures = if booted { 0 } else { task.boot_failures + 1 };
        let boot_failures = task.boot_failures;
        if announced && !self.was_pool_ready() && boot_failures >= 2 {
            self.decide("gave up");
        }
    }

    /// Counts a failure, over the whole history.
    pub(super) fn count_failure(&mut self, task_id: usize) {
        let before = self.recent().count();
        self.failures.push((self.now, task_id));
        let Some(max) = self.policy.rules.max_restarts else { return };
        if before >= max {
            self.decide("gave up");
        } else if before * 5 < max * 4 && (before + 1) * 5 >= max * 4 {
            self.low.expected += 1;
        }
    }

    pub(super) fn recent(&self) -> impl Iterator<Item = usize> + '_ {
        let window = self.policy.rules.restart_window;
        let is_recent = move |when: Duration| window.is_none_or(|window| self.now - when < window);
        self.failures.iter().filter(move |&&(when, _)| is_recent(when)).map(|&(_, task_id)| task_id)
    }

    pub(super) fn contributors(&self) -> usize {
        let Some(&(last, _)) = self.failures.last() else { return 0 };
        let window = self.policy.rules.restart_window;
        let recent = self.failures.iter().filter(|&&(when, _)| window.is_none_or(|window| last - when < window));
        recent.map(|&(_, task_id)| task_id).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn excuse(&mut self, task_id: usize) {
        for alive in self.alive.values_mut().filter(|alive| alive.task_id == task_id) {
            alive.excused = true;
        }
    }

    pub(super) fn finish_if_over(&mut self) {
        let all_finished = self.tasks[..self.size].iter().all(|task| task.finished);
        if all_finished && self.alive.is_empty() && self.draining.is_empty() {
            self.decide("finished");
        }
    }

    /// A notice reported that the pool is ready, or is about to.
    pub(super) fn was_pool_ready(&self) -> bool {
        let says_it = |action: &Action| matches!(action, Action::Tell(Notice::PoolReady { .. }));
        self.pool_was_ready || self.policy.actions.iter().any(says_it)
    }
}

pub(in super::super) fn name(exit: &Exit) -> &'static str {
    match exit {
        Exit::Finished => "finished",
        Exit::Stopped { .. } => "stopped",
        Exit::GaveUp { .. } => "gave up",
        Exit::CannotFork(_) => "cannot fork",
        Exit::Unsafe(_) => "unsafe",
        Exit::Unkillable(_) => "unkillable",
    }
}
