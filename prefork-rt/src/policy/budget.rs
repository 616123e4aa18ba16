//! How many failures are allowed before giving up: OTP's intensity and period, over the instants of the failures.

use std::time::Duration;

use super::{Failure, Time};
use crate::sys::{Uncopied, UncopiedVec};

/// How many failures are remembered for the final notice where failures count for ever.
const MOST_REMEMBERED: usize = 1000;

/// The failures that count now, or the latest of them, and how many are allowed.
pub(crate) struct Budget {
    max_restarts: Option<usize>,
    window: Option<Duration>,
    /// In the order of their times, and perhaps some that are not remembered any more.
    counted: UncopiedVec<Counted>,
    /// How many failures there ever were.
    ever: usize,
}

/// A failure that counts.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    pub(super) when: Time,
    pub(super) task_id: usize,
    pub(super) failure: Failure,
}

/// What is left of a budget: how many restarts were used, of how many, in what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) used: usize,
    pub(crate) max_restarts: Option<usize>,
    pub(crate) window: Option<Duration>,
}

/// One slot's part in what used the budget up.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) task_id: usize,
    pub(crate) failures: Vec<Failure>,
    /// How long ago the last of them was.
    pub(crate) last: Duration,
}

impl Budget {
    pub(crate) fn new(max_restarts: Option<usize>, window: Option<Duration>, memory: &Uncopied) -> Budget {
        Budget { max_restarts, window, counted: memory.vec(0), ever: 0 }
    }

    /// Counts a failure. It is an error when this failure is one too many.
    pub(crate) fn spend(&mut self, now: Time, task_id: usize, failure: Failure) -> Result<Spent, Spent> {
        self.forget_before(now);
        let left = self.max_restarts.is_none_or(|max_restarts| self.spent().used < max_restarts);
        self.ever = self.ever.saturating_add(1);
        self.counted.push(Counted { when: now, task_id, failure });
        // Many at once, as the others move up.
        if !self.is_windowed() && self.counted.len() >= 2 * MOST_REMEMBERED {
            self.forget_oldest(MOST_REMEMBERED);
        }
        if left { Ok(self.spent()) } else { Err(self.spent()) }
    }

    /// How many failures count at this moment.
    pub(crate) fn used(&mut self, now: Time) -> usize {
        self.forget_before(now);
        self.spent().used
    }

    /// Which slots used the budget up, in the order of their task ids.
    pub(crate) fn shares(&self, now: Time) -> Vec<Share> {
        let mut shares: Vec<Share> = Vec::new();
        for &Counted { when, task_id, failure } in self.remembered() {
            let last = now.since(when);
            match shares.binary_search_by_key(&task_id, |share| share.task_id) {
                Ok(index) => {
                    shares[index].failures.push(failure);
                    shares[index].last = last;
                }
                Err(index) => shares.insert(index, Share { task_id, failures: vec![failure], last }),
            }
        }
        shares
    }

    /// The failures that count, and how many there ever were.
    pub(super) fn snapshot(&self) -> (Vec<Counted>, usize) {
        (self.remembered().to_vec(), self.ever)
    }

    /// Takes the place of what was counted.
    pub(super) fn restore(&mut self, counted: Vec<Counted>, ever: usize) {
        self.counted.clear();
        self.counted.extend(counted);
        self.ever = ever;
    }

    fn spent(&self) -> Spent {
        let used = if self.is_windowed() { self.counted.len() } else { self.ever };
        Spent { used, max_restarts: self.max_restarts, window: self.window }
    }

    /// Whether failures count for a while only.
    fn is_windowed(&self) -> bool {
        self.max_restarts.is_some() && self.window.is_some()
    }

    fn forget_before(&mut self, now: Time) {
        let Some(window) = self.window else { return };
        let old = self.counted.partition_point(|counted| now.since(counted.when) >= window);
        self.forget_oldest(old);
    }

    fn remembered(&self) -> &[Counted] {
        let others = if self.is_windowed() { 0 } else { self.counted.len().saturating_sub(MOST_REMEMBERED) };
        &self.counted[others..]
    }

    fn forget_oldest(&mut self, count: usize) {
        self.counted.copy_within(count.., 0);
        for _ in 0..count {
            self.counted.pop();
        }
    }
}

impl Spent {
    /// Whether this failure is the one that brings the budget to four fifths.
    pub(crate) fn is_low(&self) -> bool {
        let low = |used: usize, max: usize| used.saturating_mul(5) >= max.saturating_mul(4);
        self.max_restarts.is_some_and(|max| low(self.used, max) && !low(self.used.saturating_sub(1), max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_failures_that_count_for_ever_the_latest_thousand_are_remembered() {
        let mut budget = Budget::new(None, None, &Uncopied::default());
        for nth in 1..=2500 {
            assert!(budget.spend(Time(Duration::ZERO), nth, Failure::NotReady).is_ok());
            let (remembered, ever) = budget.snapshot();
            let first = nth.saturating_sub(MOST_REMEMBERED) + 1;
            let task_ids = |counted: Vec<Counted>| counted.into_iter().map(|counted| counted.task_id);
            assert!(task_ids(remembered).eq(first..=nth) && ever == nth && budget.used(Time(Duration::ZERO)) == nth);
        }
    }

    #[test]
    fn failures_that_count_for_a_while_are_all_remembered_and_forgotten_when_the_time_is_over() {
        let (at, window) = (|seconds| Time(Duration::from_secs(seconds)), Duration::from_secs(10));
        let mut budget = Budget::new(Some(5000), Some(window), &Uncopied::default());
        for nth in 0..3000 {
            assert!(budget.spend(at(nth / 1000), nth as usize, Failure::NotReady).is_ok());
        }
        assert_eq!([9, 10, 11, 12].map(|seconds| budget.used(at(seconds))), [3000, 2000, 1000, 0]);
        budget.restore(vec![Counted { when: at(12), task_id: 7, failure: Failure::NotReady }], 1);
        assert_eq!([21, 22].map(|seconds| budget.used(at(seconds))), [1, 0]);
    }
}
