//! What is due, and when: a deadline of each kind, slot and process at most once.
//!
//! It must not know what a deadline that is due does.

use std::collections::{BTreeMap, BTreeSet};

use super::{ProcId, Time};

/// What time can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// A slot's backoff is over.
    Start(usize),
    Proc {
        id: ProcId,
        alarm: Alarm,
    },
    /// A slot's queue is inspected.
    Queue(usize),
    /// The time of the graceful stop is over.
    Kill,
    /// Processes that SIGKILL has not ended by now are left behind.
    LeaveBehind,
    /// The time of a rehearsal is over.
    Rehearsal,
    /// The supervisor wakes up to find out whether it is late, because an interval is watched.
    Awake,
}

/// What time can do to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// It should be ready by now.
    Ready,
    /// It has lived for a moment, for which it was on trial.
    Trial,
    /// It should have sent a heartbeat by now.
    Heartbeat,
    /// Its memory is measured again.
    Measure,
    /// It has lived long enough.
    Retire,
    /// It may be recycled from now on.
    Recycle,
    /// It was told to end, and its time is over.
    Kill,
    /// Even SIGKILL has not ended it.
    Overdue,
}

impl Alarm {
    const FIRST: Alarm = Alarm::Ready;
    const LAST: Alarm = Alarm::Overdue;
}

impl Deadline {
    /// Whether it belongs to a slot or a process, which the next binary goes on with.
    fn outlives_binary(self) -> bool {
        match self {
            Deadline::Start(_) | Deadline::Proc { .. } | Deadline::Queue(_) => true,
            Deadline::Kill | Deadline::LeaveBehind | Deadline::Rehearsal | Deadline::Awake => false,
        }
    }
}

/// All deadlines. The two collections have the same entries.
#[derive(Default)]
pub(super) struct Deadlines {
    in_order: BTreeSet<(Time, Deadline)>,
    times: BTreeMap<Deadline, Time>,
}

impl Deadlines {
    /// Sets a deadline, in place of the time that it had.
    pub(super) fn set(&mut self, deadline: Deadline, time: Time) {
        if let Some(before) = self.times.insert(deadline, time) {
            self.in_order.remove(&(before, deadline));
        }
        self.in_order.insert((time, deadline));
    }

    /// Clears a deadline and says whether it was set.
    pub(super) fn clear(&mut self, deadline: Deadline) -> bool {
        let time = self.times.remove(&deadline);
        time.is_some_and(|time| self.in_order.remove(&(time, deadline)))
    }

    /// Clears an alarm of this process, if it has any left, and returns it.
    pub(super) fn clear_one_of(&mut self, id: ProcId) -> Option<Alarm> {
        let of_process = Deadline::Proc { id, alarm: Alarm::FIRST }..=Deadline::Proc { id, alarm: Alarm::LAST };
        let (&deadline, _) = self.times.range(of_process).next()?;
        self.clear(deadline);
        match deadline {
            Deadline::Proc { alarm, .. } => Some(alarm),
            _ => None,
        }
    }

    /// Clears all deadlines but the retained ones.
    pub(super) fn retain(&mut self, is_retained: impl Fn(Deadline) -> bool) {
        self.times.retain(|&deadline, _| is_retained(deadline));
        self.in_order.retain(|&(_, deadline)| is_retained(deadline));
    }

    pub(super) fn clear_all(&mut self) {
        self.retain(|_| false);
    }

    /// When the deadline is due, if it is set.
    pub(super) fn time_of(&self, deadline: Deadline) -> Option<Time> {
        self.times.get(&deadline).copied()
    }

    pub(super) fn has(&self, deadline: Deadline) -> bool {
        self.times.contains_key(&deadline)
    }

    /// When the next deadline is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.in_order.first().map(|&(time, _)| time)
    }

    /// Takes out the first deadline that is due by now.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Deadline> {
        let &(_, deadline) = self.in_order.first().filter(|&&(time, _)| time <= now)?;
        self.clear(deadline);
        Some(deadline)
    }

    /// The processes that have this alarm, in their order.
    pub(super) fn procs_with(&self, alarm: Alarm) -> Vec<ProcId> {
        let proc = |&deadline: &Deadline| match deadline {
            Deadline::Proc { id, alarm: set } if set == alarm => Some(id),
            _ => None,
        };
        self.times.keys().filter_map(proc).collect()
    }

    /// The deadlines that the next binary goes on with, in the order of their times.
    pub(super) fn snapshot(&self) -> Vec<(Time, Deadline)> {
        self.in_order.iter().filter(|(_, deadline)| deadline.outlives_binary()).copied().collect()
    }
}

#[cfg(test)]
impl Deadlines {
    /// All of them, in the order of their times.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Time, Deadline)> {
        assert_eq!(self.times.len(), self.in_order.len(), "each is in both collections");
        self.in_order.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time(Duration::from_millis(milliseconds))
    }

    fn proc(task_id: usize, fork: u64) -> ProcId {
        ProcId { task_id, fork }
    }

    fn alarm(id: ProcId, alarm: Alarm) -> Deadline {
        Deadline::Proc { id, alarm }
    }

    fn all_due(deadlines: &mut Deadlines, now: Time) -> Vec<Deadline> {
        std::iter::from_fn(|| deadlines.take_due(now)).collect()
    }

    #[test]
    fn deadlines_are_due_in_the_order_of_their_times_and_once() {
        let mut deadlines = Deadlines::default();
        deadlines.set(Deadline::Kill, at(30));
        deadlines.set(Deadline::Start(7), at(10));
        deadlines.set(Deadline::Queue(1), at(20));
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.take_due(at(9)), None);
        assert_eq!(all_due(&mut deadlines, at(20)), [Deadline::Start(7), Deadline::Queue(1)]);
        assert_eq!((deadlines.next(), deadlines.take_due(at(29))), (Some(at(30)), None));
        assert_eq!(all_due(&mut deadlines, at(1000)), [Deadline::Kill]);
        assert_eq!((deadlines.next(), deadlines.len()), (None, 0));
    }

    #[test]
    fn a_deadline_that_is_set_again_is_due_at_the_new_time_only() {
        let mut deadlines = Deadlines::default();
        deadlines.set(Deadline::Start(0), at(10));
        deadlines.set(Deadline::Start(0), at(50));
        assert_eq!(deadlines.take_due(at(49)), None);
        deadlines.set(Deadline::Start(0), at(5));
        assert_eq!((deadlines.time_of(Deadline::Start(0)), deadlines.len()), (Some(at(5)), 1));
        assert_eq!(all_due(&mut deadlines, at(100)), [Deadline::Start(0)]);
    }

    #[test]
    fn a_deadline_that_is_cleared_is_never_due() {
        let mut deadlines = Deadlines::default();
        deadlines.set(Deadline::Rehearsal, at(10));
        assert!(deadlines.has(Deadline::Rehearsal));
        assert!(deadlines.clear(Deadline::Rehearsal), "it was set");
        assert!(!deadlines.clear(Deadline::Rehearsal), "it is cleared");
        assert_eq!((deadlines.next(), deadlines.has(Deadline::Rehearsal)), (None, false));
    }

    #[test]
    fn the_alarms_of_one_process_are_cleared_without_those_of_others() {
        let mut deadlines = Deadlines::default();
        let others = [alarm(proc(3, 0), Alarm::Overdue), alarm(proc(3, 2), Alarm::Ready), Deadline::Start(3)];
        let own = [Alarm::Ready, Alarm::Retire, Alarm::Overdue];
        own.iter().for_each(|&own| deadlines.set(alarm(proc(3, 1), own), at(5)));
        others.iter().for_each(|&other| deadlines.set(other, at(10)));
        let cleared: Vec<Alarm> = std::iter::from_fn(|| deadlines.clear_one_of(proc(3, 1))).collect();
        assert_eq!(cleared, own);
        assert_eq!(deadlines.len(), others.len());
        assert!(others.iter().all(|&other| deadlines.has(other)));
    }

    #[test]
    fn the_processes_that_have_an_alarm_are_found() {
        let mut deadlines = Deadlines::default();
        for task_id in [2, 0, 1] {
            deadlines.set(alarm(proc(task_id, 0), Alarm::Heartbeat), at(10));
        }
        deadlines.set(alarm(proc(4, 0), Alarm::Kill), at(10));
        assert_eq!(deadlines.procs_with(Alarm::Heartbeat), [0, 1, 2].map(|task_id| proc(task_id, 0)));
        assert_eq!(deadlines.procs_with(Alarm::Ready), []);
    }

    #[test]
    fn what_is_kept_is_due_and_the_rest_is_not() {
        let mut deadlines = Deadlines::default();
        deadlines.set(alarm(proc(0, 0), Alarm::Kill), at(10));
        deadlines.set(alarm(proc(0, 0), Alarm::Ready), at(5));
        deadlines.set(Deadline::Awake, at(1));
        deadlines.retain(|deadline| matches!(deadline, Deadline::Proc { alarm: Alarm::Kill, .. }));
        assert_eq!((deadlines.next(), deadlines.len()), (Some(at(10)), 1));
        deadlines.clear_all();
        assert_eq!((deadlines.next(), deadlines.len()), (None, 0));
    }

    #[test]
    fn the_next_binary_goes_by_what_belongs_to_slots_and_processes() {
        let mut deadlines = Deadlines::default();
        let own = [Deadline::Kill, Deadline::LeaveBehind, Deadline::Rehearsal, Deadline::Awake];
        own.iter().for_each(|&own| deadlines.set(own, at(1)));
        let handed_over = [Deadline::Queue(1), Deadline::Start(0), alarm(proc(0, 0), Alarm::Retire)];
        (10..).zip(handed_over).for_each(|(time, deadline)| deadlines.set(deadline, at(time)));
        let expected: Vec<_> = (10..).map(at).zip(handed_over).collect();
        assert_eq!(deadlines.snapshot(), expected);
    }
}
