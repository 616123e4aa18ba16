//! What is due, and when: a deadline of each kind, slot and process at most once.
//!
//! It must not know what a deadline that is due does.

use std::collections::BTreeSet;

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
    /// The delay before the graceful stop is over.
    Stop,
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

impl Deadline {
    /// The slot that it belongs to, itself or as a deadline of its process. The next binary goes on with slots and
    /// processes.
    pub(super) fn slot(self) -> Option<usize> {
        match self {
            Deadline::Start(task_id) | Deadline::Queue(task_id) => Some(task_id),
            Deadline::Proc { id, .. } => Some(id.task_id),
            Deadline::Stop | Deadline::Kill | Deadline::LeaveBehind | Deadline::Rehearsal | Deadline::Awake => None,
        }
    }
}

/// All deadlines, in the order of their times, and once more by what they belong to. A slot has few, so a list is the
/// fastest way to find one of them, and keeps its memory for the slot's next process.
#[derive(Default)]
pub(super) struct Deadlines {
    in_order: BTreeSet<(Time, Deadline)>,
    of_slots: Vec<Vec<(Deadline, Time)>>,
    of_pool: Vec<(Deadline, Time)>,
}

impl Deadlines {
    /// Sets a deadline, in place of the time that it had.
    pub(super) fn set(&mut self, deadline: Deadline, time: Time) {
        self.clear(deadline);
        self.in_order.insert((time, deadline));
        let list = match deadline.slot() {
            None => &mut self.of_pool,
            Some(task_id) => {
                if task_id >= self.of_slots.len() {
                    self.of_slots.resize_with(task_id + 1, Vec::new);
                }
                &mut self.of_slots[task_id]
            }
        };
        list.push((deadline, time));
    }

    /// Clears a deadline and says whether it was set.
    pub(super) fn clear(&mut self, deadline: Deadline) -> bool {
        let list = match deadline.slot() {
            None => Some(&mut self.of_pool),
            Some(task_id) => self.of_slots.get_mut(task_id),
        };
        let Some(list) = list else { return false };
        let Some(index) = list.iter().position(|&(set, _)| set == deadline) else { return false };
        let (_, time) = list.swap_remove(index);
        self.in_order.remove(&(time, deadline))
    }

    /// Clears an alarm of this process, if it has any left, and returns it.
    pub(super) fn clear_one_of(&mut self, id: ProcId) -> Option<Alarm> {
        for &(deadline, _) in self.of_slots.get(id.task_id)? {
            match deadline {
                Deadline::Proc { id: other, alarm } if other == id => {
                    self.clear(deadline);
                    return Some(alarm);
                }
                _ => {}
            }
        }
        None
    }

    /// Clears all deadlines but the retained ones.
    pub(super) fn retain(&mut self, is_retained: impl Fn(Deadline) -> bool) {
        let mut others = Vec::new();
        for &(_, deadline) in &self.in_order {
            if !is_retained(deadline) {
                others.push(deadline);
            }
        }
        for deadline in others {
            self.clear(deadline);
        }
    }

    pub(super) fn clear_all(&mut self) {
        while let Some(&(_, deadline)) = self.in_order.first() {
            self.clear(deadline);
        }
    }

    /// When the deadline is due, if it is set.
    pub(super) fn time_of(&self, deadline: Deadline) -> Option<Time> {
        let list = match deadline.slot() {
            None => &self.of_pool,
            Some(task_id) => self.of_slots.get(task_id)?,
        };
        list.iter().find(|&&(set, _)| set == deadline).map(|&(_, time)| time)
    }

    pub(super) fn has(&self, deadline: Deadline) -> bool {
        self.time_of(deadline).is_some()
    }

    /// When the next deadline is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.in_order.first().map(|&(time, _)| time)
    }

    /// Takes out the first deadline that is due by now.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Deadline> {
        match self.in_order.first() {
            Some(&(time, deadline)) if time <= now => {
                self.clear(deadline);
                Some(deadline)
            }
            _ => None,
        }
    }

    /// The processes that have this alarm, in the order of their task ids.
    pub(super) fn procs_with(&self, alarm: Alarm) -> Vec<ProcId> {
        let mut procs = Vec::new();
        for list in &self.of_slots {
            for &(deadline, _) in list {
                match deadline {
                    Deadline::Proc { id, alarm: set } if set == alarm => procs.push(id),
                    _ => {}
                }
            }
        }
        procs
    }

    /// The deadlines that the next binary goes on with, in the order of their times.
    pub(super) fn snapshot(&self) -> Vec<(Time, Deadline)> {
        let mut snapshot = Vec::new();
        for &(time, deadline) in &self.in_order {
            if deadline.slot().is_some() {
                snapshot.push((time, deadline));
            }
        }
        snapshot
    }
}

#[cfg(test)]
impl Deadlines {
    /// All of them, in the order of their times.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Time, Deadline)> {
        let lists = self.of_slots.iter().chain([&self.of_pool]).map(Vec::len).sum::<usize>();
        assert_eq!(lists, self.in_order.len(), "each is in a list, too");
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
        let handed_off = [Deadline::Queue(1), Deadline::Start(0), alarm(proc(0, 0), Alarm::Retire)];
        (10..).zip(handed_off).for_each(|(time, deadline)| deadlines.set(deadline, at(time)));
        let expected: Vec<_> = (10..).map(at).zip(handed_off).collect();
        assert_eq!(deadlines.snapshot(), expected);
    }
}
