//! Forks that the system refuses after the start: when they are tried again, which notices there are, and when they
//! count.
//!
//! As long as a worker lives, the pool serves. The fork is then tried again without limit, and a refusal does not
//! count. A pool without a worker does not serve, so each refused fork counts as a restart that failed.

use std::io;
use std::time::Duration;

use super::budget::Spent;
use super::notice::{GiveUp, Notice};
use super::{Exit, Failure, Policy, Time, backoff};
use crate::grammar::Backoff;

/// A refused fork is not tried again sooner, whatever the backoff.
pub(super) const FORK_RETRY: Duration = Duration::from_millis(100);
/// The time between two tries grows up to this, or up to the longest backoff where that is longer.
pub(super) const LONGEST_FORK_RETRY: Duration = Duration::from_secs(1);

/// A spell in which the system refuses forks. It lasts as long as a slot waits for one.
#[derive(Clone, Copy)]
pub(super) struct Refusals {
    pub(super) since: Time,
    /// How many forks it refused.
    pub(super) forks: usize,
    /// The last refusal counted.
    pub(super) counts: bool,
}

impl Policy {
    /// The slot stays empty, and its fork is tried again.
    pub(super) fn fork_refused(&mut self, task_id: usize, error: io::Error) {
        let is_served = self.alive > 0;
        let spent = (!is_served).then(|| self.budget.spend(self.now, task_id, Failure::CannotFork));
        let spent = match spent.transpose() {
            Ok(spent) => spent,
            Err(spent) => return self.give_up_forking(task_id, error, spent),
        };
        let slot = &mut self.slots[task_id];
        slot.refusals = slot.refusals.saturating_add(1);
        let refusals = slot.refusals;
        let delay = backoff::delay(retries(self.rules.backoff), refusals, &mut self.jitter);
        if self.note_refusal(spent.is_some()) {
            self.tell(Notice::ForkRefused { task_id, error, delay, spent });
        }
        if let Some(spent) = spent {
            self.tell_if_low(spent);
        }
        self.start_after(task_id, delay);
        self.touched(task_id);
    }

    /// The slot has a worker, or is not wanted any more.
    pub(super) fn forget_refusals_of(&mut self, task_id: usize) {
        self.slots[task_id].refusals = 0;
        if self.refusals.is_none() || self.slots.iter().any(|slot| slot.refusals > 0) {
            return;
        }
        if let Some(Refusals { since, forks, .. }) = self.refusals.take() {
            self.tell(Notice::ForksSucceed { refused: forks, took: self.now.since(since) });
        }
    }

    /// Says whether this is the first of the spell, or counts where the one before did not.
    fn note_refusal(&mut self, counts: bool) -> bool {
        let is_first = self.refusals.is_none();
        let refusals = self.refusals.get_or_insert(Refusals { since: self.now, forks: 0, counts: false });
        refusals.forks = refusals.forks.saturating_add(1);
        let counted = std::mem::replace(&mut refusals.counts, counts);
        is_first || counts && !counted
    }

    fn give_up_forking(&mut self, task_id: usize, error: io::Error, spent: Spent) {
        self.tell(Notice::ForksRefusedTooOften { task_id, error, spent });
        self.tell_shares();
        self.stop(Exit::GaveUp { task_id, reason: GiveUp::Budget(spent) }, None);
    }
}

/// The backoff of refused forks. It grows even where the backoff of failed workers does not.
fn retries(Backoff { first, longest }: Backoff) -> Backoff {
    let first = first.max(FORK_RETRY);
    Backoff { first, longest: longest.max(first).max(LONGEST_FORK_RETRY) }
}
