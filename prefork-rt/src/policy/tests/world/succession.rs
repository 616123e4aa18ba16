//! Another binary goes on with the pool, or the previous one does again.

use super::super::super::*;
use super::World;

impl World {
    pub(super) fn become_next(&mut self) {
        let Some(rules) = self.next.rules.clone() else {
            return self.handle(Event::NotReplaced("it is not executable".to_owned()));
        };
        self.before = self.policy.rules.clone();
        (self.newcomers, self.accepted, self.failed) = (Some(self.policy.forks), false, false);
        self.reload_is_open = true;
        self.adopt(rules, Succession::Forwards);
    }

    pub(super) fn become_binary_before(&mut self) {
        (self.reload_is_open, self.failed) = (false, false);
        let newcomers = self.newcomers.take();
        self.awaiting.clear();
        if !self.next.way_back {
            for alive in self.alive.values_mut() {
                alive.dismissed |= std::mem::take(&mut alive.incoming);
            }
            return self.handle(Event::NotReplaced("it is gone".to_owned()));
        }
        for (proc, alive) in &mut self.alive {
            alive.incoming = false;
            alive.dismissed |= newcomers.is_some_and(|first_fork| proc.fork >= first_fork);
        }
        let before = std::mem::replace(&mut self.before, self.policy.rules.clone());
        // From here on, a slot may still wait by the rules of the binary that has failed.
        self.adopt(before, Succession::Back { why: "it failed".to_owned() });
    }

    /// Whether a new binary stays or falls with this fork.
    pub(super) fn decides(&self, fork: u64) -> bool {
        !self.accepted && self.is_newcomer(fork)
    }

    pub(super) fn is_newcomer(&self, fork: u64) -> bool {
        self.newcomers.is_some_and(|first_fork| fork >= first_fork)
    }

    /// The new binary has failed: one of its workers has, or was not ended by SIGKILL in time.
    pub(super) fn is_going_back(&self) -> bool {
        self.failed || self.policy.is_going_back()
    }

    pub(super) fn adopt(&mut self, rules: Rules, succession: Succession) {
        let words = crate::codec::written(&self.policy.snapshot());
        let snapshot = crate::codec::read(&words).expect("what was written can be read");
        // The kernel goes on as before, but the new binary does not know what the kernel was told.
        self.intakes.values_mut().for_each(|intake| *intake = Intake::Open);
        self.longest_backoff = self.longest_backoff.max(longest_backoff(&rules));
        self.policy = Policy::adopt(rules, snapshot, Time(self.now), succession, &Uncopied::default());
    }
}

pub(super) fn longest_backoff(rules: &Rules) -> Duration {
    rules.backoff.longest.max(rules.backoff.first)
}
