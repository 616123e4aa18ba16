//! How many failures are allowed before giving up: OTP's intensity and period, over the instants of the failures.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Failure, Time};

/// How many failures are remembered for the final notice where failures count for ever.
const MOST_REMEMBERED: usize = 1000;

/// The failures that count now, or the latest of them, and how many are allowed.
pub(crate) struct Budget {
    max_restarts: Option<usize>,
    window: Option<Duration>,
    counted: VecDeque<Counted>,
    /// How many failures there ever were.
    ever: usize,
}

/// A failure that counts.
#[derive(Clone)]
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
    pub(crate) fn new(max_restarts: Option<usize>, window: Option<Duration>) -> Budget {
        Budget { max_restarts, window, counted: VecDeque::new(), ever: 0 }
    }

    /// Counts a failure. It is an error when this failure is one too many.
    pub(crate) fn spend(&mut self, now: Time, task_id: usize, failure: Failure) -> Result<Spent, Spent> {
        self.forget_before(now);
        let left = self.max_restarts.is_none_or(|max_restarts| self.spent().used < max_restarts);
        self.ever = self.ever.saturating_add(1);
        self.counted.push_back(Counted { when: now, task_id, failure });
        if !self.is_windowed() {
            self.counted.drain(..self.counted.len().saturating_sub(MOST_REMEMBERED));
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
        let mut counted: Vec<&Counted> = self.counted.iter().collect();
        counted.sort_by_key(|counted| counted.task_id);
        let share = |counted: &[&Counted]| {
            let last = counted.iter().map(|counted| counted.when).max()?;
            let failures = counted.iter().map(|counted| counted.failure).collect();
            Some(Share { task_id: counted.first()?.task_id, failures, last: now.since(last) })
        };
        counted.chunk_by(|a, b| a.task_id == b.task_id).filter_map(share).collect()
    }

    /// The failures that count, and how many there ever were.
    pub(super) fn snapshot(&self) -> (Vec<Counted>, usize) {
        (self.counted.iter().cloned().collect(), self.ever)
    }

    /// Takes the place of what was counted.
    pub(super) fn restore(&mut self, counted: Vec<Counted>, ever: usize) {
        (self.counted, self.ever) = (counted.into(), ever);
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
        while self.counted.front().is_some_and(|oldest| now.since(oldest.when) >= window) {
            self.counted.pop_front();
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
