//! Which children may have ended or stopped, and when to look through all of them.
//!
//! SIGCHLD names a child, and the kernel drops a SIGCHLD that comes while another waits to be read: so after each, any child
//! may have ended. waitid(2) for one child takes half a microsecond. For any child it looks through those that live, and takes
//! 80 to 300 µs to find none where 4,096 live. Meanwhile no process can end or change its group, which each new worker does.
//! So the supervisor asks for the child that a signal names, does what follows from its end, and looks through all afterwards:
//! for about a quarter of the time at most, and not while a worker starts.
//!
//! It must not know what becomes of a child.

use std::time::{Duration, Instant};

use crate::sys::Pid;

/// Only one SIGCHLD at a time waits to be read, so that few come together.
const MOST_NAMED: usize = 4;
/// The next look waits for this many times as long as the last one took.
const PAUSE_PER_LOOK: u32 = 3;
/// A shorter pause than this is not worth a wait, which takes 50 µs at least.
const SHORTEST_PAUSE: Duration = Duration::from_micros(20);
/// A look may have taken long because this process did not run.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
/// From a fork to when its child has become a worker. A look that takes a third of this is over before the child changes its
/// group.
const START_OF_A_WORKER: Duration = Duration::from_micros(300);
/// How long the ends of named children can put off a look.
pub(super) const LONGEST_PUT_OFF: Duration = Duration::from_millis(10);
/// How long to wait before asking again for a child whose end the system failed to tell.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) struct Unreaped {
    /// Those that signals have named.
    named: [Option<Pid>; MOST_NAMED],
    /// Any other child may have ended, too.
    any: bool,
    /// How long to wait after a look, by what the last one took.
    pause: Duration,
    /// No look comes earlier, unless a deadline presses.
    not_before: Instant,
    /// A look that was put off for the ends of named children comes at this time at the latest, even if others have ended since.
    at_the_latest: Option<Instant>,
}

impl Unreaped {
    /// Any child may have ended: strangers that ended before SIGCHLD was blocked, which no signal announces.
    pub(super) fn any(now: Instant) -> Unreaped {
        Unreaped { named: [None; MOST_NAMED], any: true, pause: Duration::ZERO, not_before: now, at_the_latest: None }
    }

    /// A signal came, which may name a child.
    pub(super) fn note(&mut self, child: Option<Pid>) {
        self.any = true;
        if let (Some(place), Some(_)) = (self.named.iter_mut().find(|place| place.is_none()), child) {
            *place = child;
        }
    }

    /// Whether a child may have ended.
    pub(super) fn is_any(&self) -> bool {
        self.any
    }

    /// A child that a signal has named.
    pub(super) fn take_named(&mut self) -> Option<Pid> {
        self.named.iter_mut().find_map(Option::take)
    }

    /// Whether to look through all children now. `found` says that a named child has ended, and `presses` that something is due
    /// soon that depends on which children have ended.
    pub(super) fn look_is_due(&mut self, now: Instant, found: bool, presses: bool) -> bool {
        if found && !presses {
            let at_the_latest = *self.at_the_latest.get_or_insert(now + LONGEST_PUT_OFF);
            let until = if self.pause < START_OF_A_WORKER { now } else { now + self.pause };
            self.not_before = self.not_before.max(until).min(at_the_latest);
            return now >= at_the_latest;
        }
        self.any && (presses || now >= self.not_before)
    }

    /// A look has found no child any more that had ended. The last call, which has found none, took from `from` to `to`.
    pub(super) fn looked(&mut self, from: Instant, to: Instant) {
        let pause = (to.saturating_duration_since(from) * PAUSE_PER_LOOK).min(LONGEST_PAUSE);
        self.pause = if pause < SHORTEST_PAUSE { Duration::ZERO } else { pause };
        self.not_before = to + self.pause;
        (self.any, self.at_the_latest) = (false, None);
    }

    /// A look has failed. No further signal comes for the child that it did not find.
    pub(super) fn failed(&mut self, now: Instant) {
        self.not_before = now + LOOK_AGAIN;
    }

    /// When to look through all children, if nothing else happens before.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.any.then_some(self.not_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// All were looked through, which took this many microseconds, and when that was done.
    fn looked(took: u32) -> (Unreaped, Instant) {
        let start = Instant::now();
        let mut unreaped = Unreaped::any(start);
        assert!(unreaped.look_is_due(start, false, false), "strangers may have ended");
        let now = start + took * MICROSECOND;
        unreaped.looked(start, now);
        assert!(!unreaped.is_any() && unreaped.next_look().is_none());
        (unreaped, now)
    }

    fn named(unreaped: &mut Unreaped) -> Vec<i32> {
        std::iter::from_fn(|| unreaped.take_named()).map(Pid::as_raw).collect()
    }

    #[test]
    fn a_child_that_a_signal_names_is_asked_for_once_and_all_are_looked_through_after_each_signal() {
        let (mut unreaped, now) = looked(1);
        for child in [None, Some(Pid::from_raw(7))] {
            assert!(!unreaped.look_is_due(now, false, false) && !unreaped.look_is_due(now, false, true), "none ended");
            unreaped.note(child);
            assert_eq!(named(&mut unreaped), Vec::from_iter(child.map(Pid::as_raw)));
            assert_eq!(named(&mut unreaped), [0; 0]);
            assert_eq!(unreaped.next_look(), Some(now));
            assert!(unreaped.is_any() && unreaped.look_is_due(now, false, false));
            unreaped.looked(now, now);
        }
    }

    #[test]
    fn a_child_that_finds_no_place_is_found_by_the_look() {
        let (mut unreaped, now) = looked(1);
        (1..=6).for_each(|pid| unreaped.note(Some(Pid::from_raw(pid))));
        assert_eq!(named(&mut unreaped), [1, 2, 3, 4]);
        assert!(unreaped.look_is_due(now, false, false));
    }

    #[test]
    fn what_follows_from_the_end_of_a_named_child_goes_first() {
        let (mut unreaped, now) = looked(99);
        let now = now + START_OF_A_WORKER;
        unreaped.note(Some(Pid::from_raw(7)));
        assert!(!unreaped.look_is_due(now, true, false));
        assert_eq!(unreaped.next_look(), Some(now), "no wait comes before the look");
        assert!(unreaped.look_is_due(now, false, false));
        assert!(unreaped.look_is_due(now, true, true), "something is due that depends on who has ended");
    }

    #[test]
    fn a_look_that_takes_long_begins_when_a_worker_forked_meanwhile_has_started() {
        let (mut unreaped, now) = looked(100);
        let now = now + Duration::from_secs(1);
        unreaped.note(Some(Pid::from_raw(7)));
        assert!(!unreaped.look_is_due(now, true, false));
        assert_eq!(unreaped.next_look(), Some(now + START_OF_A_WORKER));
        assert!(!unreaped.look_is_due(now, false, false) && unreaped.look_is_due(now, false, true));
    }

    #[test]
    fn children_that_signals_name_keep_no_other_waiting_for_longer_than_ten_milliseconds() {
        let (mut unreaped, start) = looked(100);
        let due = (0..100).map(|nth| start + nth * START_OF_A_WORKER).find(|&now| {
            unreaped.note(Some(Pid::from_raw(7)));
            unreaped.look_is_due(now, true, false)
        });
        assert_eq!(due.map(|due| due - start), Some(34 * START_OF_A_WORKER));
    }

    #[test]
    fn looks_that_take_long_take_a_quarter_of_the_time_at_most() {
        for (took, pause) in [(6, 0), (7, 21), (80, 240), (1000, 1000), (50_000, 1000)] {
            let (mut unreaped, now) = looked(took);
            unreaped.note(None);
            let next = now + pause * MICROSECOND;
            assert_eq!(unreaped.next_look(), Some(next), "after {took} µs");
            assert!(pause == 0 || !unreaped.look_is_due(next - MICROSECOND, false, false));
            assert!(unreaped.look_is_due(now, false, true), "a deadline presses");
            assert!(unreaped.look_is_due(next, false, false));
        }
    }

    #[test]
    fn after_a_failure_all_are_looked_through_again_without_a_signal() {
        let (mut unreaped, now) = looked(1);
        unreaped.note(None);
        assert!(unreaped.look_is_due(now, false, false));
        unreaped.failed(now);
        assert_eq!(unreaped.next_look(), Some(now + LOOK_AGAIN));
        assert!(!unreaped.look_is_due(now, false, false) && unreaped.look_is_due(now + LOOK_AGAIN, false, false));
    }
}
