//! How many of the slots that are wanted are ready, and how many have finished.

use std::time::Duration;

use super::notice::Notice;
use super::{Policy, Time};

/// What a slot counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not ready, or not wanted.
    #[default]
    Uncounted,
    Ready,
    Finished,
}

/// The slots that are wanted, by their standing.
#[derive(Default)]
pub(super) struct Headcount {
    ready: usize,
    finished: usize,
    /// All slots were ready at once before.
    was_complete: bool,
}

impl Headcount {
    /// Goes on where another binary has stopped, with nothing counted yet.
    pub(super) fn adopted(was_complete: bool) -> Headcount {
        Headcount { was_complete, ..Headcount::default() }
    }

    /// Counts a slot, which was counted as `counted` before, as `standing`.
    pub(super) fn count(&mut self, counted: &mut Standing, standing: Standing) {
        if let Some(count) = self.of(*counted) {
            *count -= 1;
        }
        if let Some(count) = self.of(standing) {
            *count += 1;
        }
        *counted = standing;
    }

    fn of(&mut self, standing: Standing) -> Option<&mut usize> {
        match standing {
            Standing::Uncounted => None,
            Standing::Ready => Some(&mut self.ready),
            Standing::Finished => Some(&mut self.finished),
        }
    }

    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    pub(super) fn finished(&self) -> usize {
        self.finished
    }

    /// Whether every worker of a pool of this size was ready at once before.
    pub(super) fn was_complete(&self) -> bool {
        self.was_complete
    }

    /// Whether this is the first time that each of the `wanted` slots is ready or has finished, and not all have
    /// finished.
    pub(super) fn becomes_complete(&mut self, wanted: usize) -> bool {
        let is_complete = self.ready > 0 && self.ready + self.finished == wanted;
        is_complete && !std::mem::replace(&mut self.was_complete, true)
    }
}

impl Policy {
    /// Counts a slot by its present standing.
    pub(super) fn count(&mut self, task_id: usize) {
        let is_wanted = task_id < self.size;
        let slot = &mut self.slots[task_id];
        let standing = if is_wanted { slot.standing() } else { Standing::Uncounted };
        self.headcount.count(&mut slot.counted, standing);
    }

    pub(super) fn tell_if_ready(&mut self) {
        if self.serves() && self.headcount.becomes_complete(self.size) {
            self.tell(Notice::PoolReady { workers: self.size, took: self.now.since(Time(Duration::ZERO)) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_counts_once_whatever_its_standings_were() {
        let mut headcount = Headcount::default();
        let mut counted = Standing::default();
        let mut count = |standing| {
            headcount.count(&mut counted, standing);
            assert_eq!(counted, standing);
            (headcount.ready(), headcount.finished())
        };
        assert_eq!(count(Standing::Ready), (1, 0));
        assert_eq!(count(Standing::Ready), (1, 0));
        assert_eq!(count(Standing::Finished), (0, 1));
        assert_eq!(count(Standing::Uncounted), (0, 0));
        assert_eq!(count(Standing::Uncounted), (0, 0));
    }

    #[test]
    fn a_pool_becomes_complete_once_when_all_are_ready_or_have_finished_but_not_when_all_have_finished() {
        let mut headcount = Headcount::default();
        let mut slots = [Standing::Uncounted; 2];
        assert!(!headcount.becomes_complete(2));
        headcount.count(&mut slots[0], Standing::Finished);
        assert!(!headcount.becomes_complete(2), "one is not ready");
        assert!(!headcount.becomes_complete(1), "none is ready");
        headcount.count(&mut slots[1], Standing::Ready);
        assert!(headcount.becomes_complete(2));
        assert!(headcount.was_complete() && !headcount.becomes_complete(2), "once");
    }

    #[test]
    fn a_pool_that_was_complete_under_another_binary_does_not_become_complete_again() {
        let mut headcount = Headcount::adopted(true);
        headcount.count(&mut Standing::default(), Standing::Ready);
        assert!(headcount.was_complete() && !headcount.becomes_complete(1));
    }
}
