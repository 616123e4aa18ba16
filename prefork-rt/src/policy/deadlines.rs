//! What is due, and when: a deadline of each kind, slot and process at most once.
//!
//! It must not know what a deadline that is due does.

use std::{iter, mem};

use super::{ProcId, Time};
use crate::sys::{Uncopied, UncopiedVec};

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

/// All deadlines: in a heap, and in a list for each slot. In memory that a fork does not copy, as each fork sets some.
pub(super) struct Deadlines {
    entries: UncopiedVec<Entry>,
    /// The entries that are set, as a binary heap: the one at place n is due before those at 2n + 1 and 2n + 2.
    heap: UncopiedVec<usize>,
    /// The first entry of each slot.
    of_slots: UncopiedVec<Option<usize>>,
    /// The first entry of the pool.
    of_pool: Option<usize>,
    /// The first entry that is not set.
    unused: Option<usize>,
}

struct Entry {
    time: Time,
    deadline: Deadline,
    /// Where it is in the heap.
    place: usize,
    /// Of an entry that is set: the next one of its slot, or of the pool. Of another: the next one that is not set.
    next: Option<usize>,
}

impl Deadlines {
    /// With room for those of this many slots.
    pub(super) fn new(memory: &Uncopied, slots: usize) -> Deadlines {
        Deadlines {
            entries: memory.vec(slots),
            heap: memory.vec(slots),
            of_slots: memory.vec(slots),
            of_pool: None,
            unused: None,
        }
    }

    /// Sets a deadline, in place of the time that it had.
    pub(super) fn set(&mut self, deadline: Deadline, time: Time) {
        self.clear(deadline);
        if let Some(task_id) = deadline.slot() {
            self.of_slots.grow_to(task_id + 1, None);
        }
        let place = self.heap.len();
        let entry = Entry { time, deadline, place, next: *self.list(deadline) };
        let index = match self.unused {
            Some(index) => {
                self.unused = mem::replace(&mut self.entries[index], entry).next;
                index
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        *self.list(deadline) = Some(index);
        self.heap.push(index);
        self.rise(place);
    }

    /// Clears a deadline and says whether it was set.
    pub(super) fn clear(&mut self, deadline: Deadline) -> bool {
        let Some(index) = self.find(deadline) else { return false };
        self.unlink(index);
        let place = self.entries[index].place;
        self.swap(place, self.heap.len() - 1);
        self.heap.pop();
        if place < self.heap.len() {
            self.rise(place);
            self.sink(place);
        }
        self.entries[index].next = self.unused.replace(index);
        true
    }

    /// Clears an alarm of this process, if it has any left, and returns it.
    pub(super) fn clear_one_of(&mut self, id: ProcId) -> Option<Alarm> {
        let is_of = |entry: &Entry| matches!(entry.deadline, Deadline::Proc { id: other, .. } if other == id);
        let first = self.of_slots.get(id.task_id).copied().flatten();
        let Deadline::Proc { alarm, .. } = self.linked(first).find(|&(_, entry)| is_of(entry))?.1.deadline else {
            return None;
        };
        self.clear(Deadline::Proc { id, alarm });
        Some(alarm)
    }

    /// Clears all deadlines but the retained ones.
    pub(super) fn retain(&mut self, is_retained: impl Fn(Deadline) -> bool) {
        let mut others = Vec::new();
        for &index in self.heap.iter() {
            let deadline = self.entries[index].deadline;
            if !is_retained(deadline) {
                others.push(deadline);
            }
        }
        for deadline in others {
            self.clear(deadline);
        }
    }

    pub(super) fn clear_all(&mut self) {
        while let Some(entry) = self.first() {
            self.clear(entry.deadline);
        }
    }

    /// When the deadline is due, if it is set.
    pub(super) fn time_of(&self, deadline: Deadline) -> Option<Time> {
        self.find(deadline).map(|index| self.entries[index].time)
    }

    pub(super) fn has(&self, deadline: Deadline) -> bool {
        self.find(deadline).is_some()
    }

    /// When the next deadline is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.first().map(|entry| entry.time)
    }

    /// Takes out the first deadline that is due by now.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Deadline> {
        let deadline = self.first().filter(|entry| entry.time <= now)?.deadline;
        self.clear(deadline);
        Some(deadline)
    }

    /// The processes that have this alarm, in the order of their task ids.
    pub(super) fn procs_with(&self, alarm: Alarm) -> Vec<ProcId> {
        let mut procs = Vec::new();
        for &first in self.of_slots.iter() {
            for (_, entry) in self.linked(first) {
                match entry.deadline {
                    Deadline::Proc { id, alarm: set } if set == alarm => procs.push(id),
                    _ => {}
                }
            }
        }
        procs
    }

    /// The deadlines that the next binary goes on with. It sets them in this order, and then has the same lists.
    pub(super) fn snapshot(&self) -> Vec<(Time, Deadline)> {
        let mut snapshot = Vec::new();
        for &first in self.of_slots.iter() {
            for (_, entry) in self.linked(first) {
                snapshot.push(entry.rank());
            }
        }
        // The last that is set is the first of its slot's list.
        snapshot.reverse();
        snapshot
    }

    fn first(&self) -> Option<&Entry> {
        self.heap.first().map(|&index| &self.entries[index])
    }

    /// The list that this deadline belongs to. The slot has one.
    fn list(&mut self, deadline: Deadline) -> &mut Option<usize> {
        match deadline.slot() {
            None => &mut self.of_pool,
            Some(task_id) => &mut self.of_slots[task_id],
        }
    }

    fn find(&self, deadline: Deadline) -> Option<usize> {
        let first = match deadline.slot() {
            None => self.of_pool,
            Some(task_id) => *self.of_slots.get(task_id)?,
        };
        self.linked(first).find(|(_, entry)| entry.deadline == deadline).map(|(index, _)| index)
    }

    /// The entries of the list that begins with this one.
    fn linked(&self, first: Option<usize>) -> impl Iterator<Item = (usize, &Entry)> {
        let with = |index: usize| (index, &self.entries[index]);
        iter::successors(first.map(with), move |(_, entry)| entry.next.map(with))
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, index: usize) {
        let Entry { deadline, next, .. } = self.entries[index];
        let first = *self.list(deadline);
        let before = self.linked(first).find(|(_, entry)| entry.next == Some(index)).map(|(before, _)| before);
        match before {
            Some(before) => self.entries[before].next = next,
            None => *self.list(deadline) = next,
        }
    }

    /// Moves what is at this place of the heap up to where it belongs.
    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.comes_before(place, (place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    /// Moves what is at this place of the heap down to where it belongs.
    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            if left >= self.heap.len() {
                return;
            }
            let first = if right < self.heap.len() && self.comes_before(right, left) { right } else { left };
            if !self.comes_before(first, place) {
                return;
            }
            self.swap(place, first);
            place = first;
        }
    }

    fn comes_before(&self, one: usize, other: usize) -> bool {
        self.entries[self.heap[one]].rank() < self.entries[self.heap[other]].rank()
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for place in [one, other] {
            self.entries[self.heap[place]].place = place;
        }
    }
}

impl Entry {
    fn rank(&self) -> (Time, Deadline) {
        (self.time, self.deadline)
    }
}

#[cfg(test)]
impl Deadlines {
    /// All of them, in the order of their times.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Time, Deadline)> {
        let lists = self.of_slots.iter().chain([&self.of_pool]);
        assert_eq!(lists.flat_map(|&first| self.linked(first)).count(), self.heap.len(), "each is in a list, too");
        let places = self.heap.iter().enumerate().map(|(place, &index)| (place, &self.entries[index]));
        places.for_each(|(place, entry)| assert_eq!(entry.place, place, "{:?}", entry.deadline));
        let mut all: Vec<(Time, Deadline)> = self.heap.iter().map(|&index| self.entries[index].rank()).collect();
        all.sort_unstable();
        all.into_iter()
    }

    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }
}

#[cfg(test)]
mod tests;
