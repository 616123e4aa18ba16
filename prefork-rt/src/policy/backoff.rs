//! How long a slot's next start waits after the ends of its workers, and which ends are forgiven.

use std::time::Duration;

use super::Policy;
use super::slot::Proc;
use crate::grammar;

/// A worker that lived this long is forgiven its own end and its predecessors', whether it announces readiness or not.
pub(super) const STABLE: Duration = Duration::from_secs(10);
/// Where readiness is announced, a worker that was ready for this long has proved itself.
const PROOF: Duration = Duration::from_secs(1);

/// How a slot's workers ended lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The slot's next process, or the one that it has, takes the place of one that ended.
    pub(super) is_replacement: bool,
    /// How many replacements in a row ended soon.
    pub(super) quick_ends: u32,
}

impl Backoff {
    /// A worker has ended. The end of one that has not proved itself counts, where it was a replacement.
    fn ended(&mut self, has_proved_itself: bool) {
        if has_proved_itself {
            self.quick_ends = 0;
        } else if self.is_replacement {
            self.quick_ends = self.quick_ends.saturating_add(1);
        }
        self.is_replacement = true;
    }

    /// All ends but one are forgiven: the next start waits for the first delay at most.
    fn forgive_all_but_one(&mut self) {
        self.quick_ends = self.quick_ends.min(1);
    }

    /// The slot begins anew.
    pub(super) fn forgive(&mut self) {
        *self = Backoff::default();
    }

    /// How long the next start waits.
    fn delay(self, backoff: grammar::Backoff, jitter: &mut Jitter) -> Duration {
        delay(backoff, self.quick_ends, jitter)
    }
}

impl Policy {
    /// How long the next start of this slot waits: not at all where its replacement is there already.
    pub(super) fn backoff(&mut self, task_id: usize) -> Duration {
        let slot = &self.slots[task_id];
        if slot.current.is_some() {
            return Duration::ZERO;
        }
        slot.backoff.delay(self.rules.backoff, &mut self.jitter)
    }

    /// Counts the end of a worker that was not told to end.
    ///
    /// Announced readiness is evidence that the service works. What ends a worker that was ready for a second (`PROOF`)
    /// came from outside, as a request does, and a delay would punish the clients of the other workers. So its
    /// successor is started at once. An attack ends some workers sooner, and their quick ends would make the delay
    /// grow. So for ten seconds (`STABLE`) after the end of any worker that had proved itself, the successors of
    /// workers that were ready at all wait for the first delay only. Workers that are never ready, because a database
    /// is down for example, wait longer and longer.
    pub(super) fn count_end(&mut self, proc: &Proc, up: Duration) {
        let now = self.now;
        let has_proved_itself = self.rules.readiness.is_announced() && proc.was_ready_for(PROOF, now);
        let backoff = &mut self.slots[proc.id.task_id].backoff;
        backoff.ended(up >= STABLE || has_proved_itself);
        let is_trusted = self.proved_at.is_some_and(|proved_at| now.since(proved_at) < STABLE);
        if has_proved_itself {
            self.proved_at = Some(now);
        } else if is_trusted && proc.ready_since.is_some() {
            backoff.forgive_all_but_one();
        }
    }

    /// Counts the end of a worker in its turn. A reload is a new beginning. Recycling is one only of a worker that
    /// lived for long.
    pub(super) fn count_turn(&mut self, task_id: usize, is_recycled: bool, up: Duration) {
        let backoff = &mut self.slots[task_id].backoff;
        if is_recycled {
            backoff.ended(up >= STABLE);
        } else {
            backoff.forgive();
        }
    }

    /// How long a worker that will be recycled waits for its turn. One that asks soon after its start waits as if it
    /// had ended.
    pub(super) fn recycling_delay(&mut self, task_id: usize, is_soon: bool) -> Duration {
        let mut backoff = self.slots[task_id].backoff;
        backoff.ended(!is_soon);
        backoff.delay(self.rules.backoff, &mut self.jitter)
    }
}

/// How long the next start waits after this many quick ends in a row: not at all at first, then the first delay,
/// doubling; each with up to a quarter more at random. The doubling ends where that quarter just fits below the
/// longest, so that slots that fail together stay apart there, too.
pub(crate) fn delay(backoff: grammar::Backoff, quick_ends: u32, jitter: &mut Jitter) -> Duration {
    let Some(doublings) = quick_ends.checked_sub(1) else { return Duration::ZERO };
    let grammar::Backoff { first, longest } = backoff;
    let delay = first.saturating_mul(2u32.saturating_pow(doublings)).min(longest / 5 * 4).max(first);
    delay + jitter.up_to((delay / 4).min(longest.saturating_sub(delay)))
}

/// `max_lifetime` and up to a tenth more or less at random, so that workers that started together do not end together.
pub(crate) fn lifetime(max_lifetime: Duration, jitter: &mut Jitter) -> Duration {
    (max_lifetime - max_lifetime / 10).saturating_add(jitter.up_to(max_lifetime / 5))
}

/// SplitMix64: small, seeded, and no secret depends on it.
pub(crate) struct Jitter(pub(crate) u64);

impl Jitter {
    fn up_to(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(bits % most.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The option in these tests: delays are exact, where the longest leaves no room for more at random.
    const OPTION: grammar::Backoff =
        grammar::Backoff { first: Duration::from_millis(100), longest: Duration::from_millis(100) };

    fn delay(backoff: Backoff) -> Duration {
        backoff.delay(OPTION, &mut Jitter(1))
    }

    #[test]
    fn the_first_replacement_starts_at_once_and_the_next_ones_wait() {
        let mut backoff = Backoff::default();
        backoff.ended(false);
        assert_eq!(delay(backoff), Duration::ZERO);
        backoff.ended(false);
        assert_eq!(delay(backoff), OPTION.first);
        assert_eq!(backoff.quick_ends, 1);
        backoff.ended(false);
        assert_eq!(backoff.quick_ends, 2);
    }

    #[test]
    fn a_worker_that_has_proved_itself_is_forgiven_all_ends_but_its_successor_is_a_replacement() {
        let mut backoff = Backoff { is_replacement: true, quick_ends: 7 };
        backoff.ended(true);
        assert_eq!((backoff.quick_ends, delay(backoff)), (0, Duration::ZERO));
        backoff.ended(false);
        assert_eq!(backoff.quick_ends, 1, "a replacement's quick end counts");
    }

    #[test]
    fn a_slot_that_begins_anew_has_no_past() {
        let mut backoff = Backoff { is_replacement: true, quick_ends: 7 };
        backoff.forgive();
        backoff.ended(false);
        assert_eq!(delay(backoff), Duration::ZERO);
    }

    #[test]
    fn where_all_ends_but_one_are_forgiven_the_first_delay_is_left_or_none() {
        for (before, left) in [(0, 0), (1, 1), (2, 1), (u32::MAX, 1)] {
            let mut backoff = Backoff { is_replacement: true, quick_ends: before };
            backoff.forgive_all_but_one();
            assert_eq!(backoff.quick_ends, left, "{before}");
        }
    }

    #[test]
    fn quick_ends_without_end_are_counted_to_the_end() {
        let mut backoff = Backoff { is_replacement: true, quick_ends: u32::MAX };
        backoff.ended(false);
        assert_eq!((backoff.quick_ends, delay(backoff)), (u32::MAX, OPTION.longest));
    }
}
