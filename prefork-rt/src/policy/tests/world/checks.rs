//! The invariants of the policy.

use super::super::super::deadlines::{Alarm, Deadline};
use super::super::super::refusal::{FORK_RETRY, LONGEST_FORK_RETRY};
use super::super::super::*;
use super::{Alive, World, ms};
use crate::grammar::{Reload, Width};
use std::collections::BTreeSet;

impl World {
    /// The task ids that have a replacement which is not ready, or a predecessor which was told to end.
    pub(super) fn turns(&self) -> Vec<usize> {
        let drains = |&(signal, _): &(Signal, Duration)| signal == Signal::Terminate;
        let is_left = |alive: &Alive| alive.excused || alive.dismissed || alive.overdue;
        let in_turn = |alive: &&Alive| !is_left(alive) && (alive.incoming || alive.told.iter().any(drains));
        let mut turns: Vec<usize> = self.alive.values().filter(in_turn).map(|alive| alive.task_id).collect();
        turns.dedup();
        turns
    }

    /// Checks what holds whenever there is nothing to do.
    pub(super) fn check(&self) {
        assert_eq!(self.policy.alive, self.alive.len(), "how many are alive");
        let timeout = self.policy.poll_timeout();
        for (_, deadline) in self.policy.deadlines.iter() {
            if let Deadline::Proc { id: proc, alarm } = deadline {
                let alive = self.alive.get(&proc);
                let told = alive.is_none_or(|alive| !alive.told.is_empty());
                let is_left = alive.is_none() || told && !matches!(alarm, Alarm::Kill | Alarm::Overdue);
                assert!(!is_left, "{deadline:?} is left over");
            }
        }
        if self.fate.is_some() {
            return assert!(!self.alive.is_empty() && timeout.is_some(), "a stop has an end");
        }
        assert_eq!(self.low.told, self.low.expected, "warnings that few restarts are left");
        assert_eq!(self.policy.size(), self.size);
        self.check_tasks();
        self.check_intakes();
        match self.stop_at {
            None => {
                self.check_turns();
                self.check_idleness();
            }
            Some(at) => assert!(timeout.is_some_and(|Time(timeout)| timeout <= at), "the delay has an end"),
        }
    }

    /// No slot is empty for longer than a backoff may take.
    pub(super) fn check_tasks(&self) {
        let longest = self.longest_backoff;
        let alive: BTreeSet<usize> = self.alive.values().map(|alive| alive.task_id).collect();
        let (mut ready, mut finished) = (0, 0);
        for (task_id, task) in self.tasks[..self.size].iter().enumerate() {
            finished += usize::from(task.finished);
            ready += usize::from(!task.finished && self.is_served(task_id));
            if !alive.contains(&task_id) && !task.finished {
                let longest = if task.refused { longest.max(FORK_RETRY).max(LONGEST_FORK_RETRY) } else { longest };
                let most = longest.saturating_add(ms(1));
                let waits = self.policy.deadlines.has(Deadline::Start(task_id));
                assert!(waits && task.forks > 0 && self.now - task.empty_since < most, "task id {task_id} was lost");
            }
        }
        assert_eq!(self.policy.headcount.finished(), finished, "how many have finished");
        assert_eq!(self.policy.headcount.ready(), ready, "how many are ready");
        let unsaid = !self.pool_was_ready && ready + finished == self.size && finished < self.size;
        assert!(!unsaid, "that the pool is ready was not said");
    }

    pub(super) fn is_served(&self, task_id: usize) -> bool {
        self.alive.values().any(|alive| alive.task_id == task_id && alive.ready && alive.told.is_empty())
    }

    /// A reload or a worker that waits for its turn waits for something.
    pub(super) fn check_turns(&self) {
        let is_settled = |alive: &Alive| alive.told.is_empty() && alive.ready;
        let goes_on = self.alive.values().any(|alive| !is_settled(alive)) || !self.awaiting.is_empty();
        // A new binary waits for the first start that the backoff lets it make.
        let is_awaited = self.newcomers.is_some() && self.policy.poll_timeout().is_some();
        assert!(goes_on || !self.reload_is_open || is_awaited, "the reload is stuck");
        let waits = self.alive.values().any(|alive| alive.waits && alive.told.is_empty());
        assert!(
            goes_on || !waits || self.policy.poll_timeout().is_some(),
            "a worker that asked for it is not recycled"
        );
    }

    /// New connections come to slots with a worker that accepts, and to no other slot.
    pub(super) fn check_intakes(&self) {
        for (&task_id, &intake) in &self.intakes {
            let is_empty = self.alive_of(task_id).is_empty();
            if task_id >= self.size {
                assert_eq!(intake, Intake::Closed, "task id {task_id} is one too many");
                let goes_on = !is_empty || self.policy.deadlines.has(Deadline::Queue(task_id));
                assert!(goes_on, "the sockets of {task_id} are left over");
            } else if self.tasks[task_id].finished {
                assert_eq!(intake, Intake::Closed, "task id {task_id} has finished");
            } else if self.is_served(task_id) {
                assert_eq!(intake, Intake::Open, "task id {task_id} accepts");
            } else if is_empty && intake == Intake::Open {
                let start_at = self.policy.deadlines.time_of(Deadline::Start(task_id)).expect("it was lost");
                assert!(start_at.0 - self.now <= ms(50), "no worker accepts for {task_id}");
            }
        }
        if self.policy.rules.slots_have_sockets {
            let lacks = |&task_id: &usize| !self.tasks[task_id].finished && !self.intakes.contains_key(&task_id);
            assert_eq!((0..self.size).find(lacks), None, "it has no sockets");
        }
    }

    /// Without an option that has to do with time, and with nothing to wait for, nothing wakes the supervisor.
    pub(super) fn check_idleness(&self) {
        // Another binary may have decided to recycle a worker that is still there.
        let timed =
            [&self.policy.rules, &self.before, self.next.rules.as_ref().unwrap_or(&self.before)].iter().any(|rules| {
                rules.heartbeat_timeout.is_some() || rules.max_lifetime.is_some() || rules.max_memory.is_some()
            });
        let served = (0..self.size).all(|task_id| self.tasks[task_id].finished || self.is_served(task_id));
        let settled = self.alive.values().all(|alive| alive.told.is_empty() && alive.ready && !alive.waits);
        let settled = settled && self.policy.deadlines.procs_with(Alarm::Recycle).is_empty();
        let closes = |(&task_id, _): (&usize, _)| task_id >= self.size || self.tasks[task_id].finished;
        if !timed && served && settled && !self.rehearsing && !self.intakes.iter().any(closes) {
            assert_eq!(self.policy.poll_timeout(), None, "there is nothing to wait for");
        }
    }

    /// A worker is told to end because it is replaced.
    pub(super) fn check_turn(&mut self, old: ProcId) {
        match self.policy.rules.reload {
            Reload::Overlap => {
                assert!(self.tasks[old.task_id].newest_ready > Some(old), "{old:?} is told to end too soon");
            }
            // The turn begins with that.
            Reload::Exclusive => {
                let others = self.turns().into_iter().filter(|&task_id| task_id != old.task_id);
                let others: BTreeSet<usize> = others.chain(self.awaiting.iter().copied()).collect();
                assert!(others.len() < self.width_of(self.decided_size()), "too many turns at once: {others:?}");
                assert!(self.awaiting.insert(old.task_id), "two turns of {}", old.task_id);
            }
        }
    }

    /// A turn begins with a replacement beside the old worker.
    pub(super) fn check_width(&self) {
        let (turns, width) = (self.turns(), self.width());
        assert!(turns.len() < width, "more than {width} turns at once: {turns:?}");
        assert!(self.second_processes() < width, "more processes than workers and {width}");
    }

    /// How many slots may have a turn at once.
    pub(super) fn width(&self) -> usize {
        self.width_of(self.size)
    }

    fn width_of(&self, size: usize) -> usize {
        match self.policy.rules.reload_width {
            _ if self.newcomers.is_some() && !self.accepted => 1,
            Width::Slots(width) => width,
            Width::Percent(percent) => (size * percent / 100).max(1),
        }
    }

    /// How many workers may have been wanted when the action was decided that is performed now: what is queued behind it
    /// may have changed that since.
    fn decided_size(&self) -> usize {
        let before = self.policy.actions.iter().map(|action| match action {
            Action::Tell(Notice::Scaled { from, .. }) => *from,
            Action::Tell(Notice::CannotAdd { .. } | Notice::CannotOpen { .. }) => self.policy.rules.most_workers,
            _ => 0,
        });
        before.max().unwrap_or_default().max(self.size)
    }

    /// How many processes there are beyond one for each task id, except for those that SIGKILL has not ended.
    pub(super) fn second_processes(&self) -> usize {
        let living = self.alive.values().filter(|alive| !alive.overdue).map(|alive| alive.task_id);
        living.clone().count() - living.collect::<BTreeSet<_>>().len()
    }

    /// Whether the replacement that is about to be forked is that of a worker that is recycled.
    pub(super) fn is_recycled(&self, task_id: usize) -> bool {
        let says_so = |action: &Action| match action {
            Action::Tell(Notice::Recycling { worker, .. }) => worker.task_id == task_id,
            _ => false,
        };
        self.policy.actions.iter().any(says_so)
    }

    /// The reload is abandoned: its replacements that stand beside old workers and are not ready are told to end. Says how
    /// many there are.
    pub(super) fn turn_back(&mut self) -> usize {
        let are_of_it = |alive: &&mut Alive| alive.incoming && !alive.recycles && !alive.excused;
        let turned_back = self.alive.values_mut().filter(are_of_it);
        turned_back.map(|alive| alive.dismissed |= std::mem::take(&mut alive.incoming)).count()
    }
}
