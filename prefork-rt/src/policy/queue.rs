//! A queue in memory that a fork does not copy.
//!
//! The supervisor's heap is shared with all workers, so that the first write to each page after a fork copies it.

use crate::sys::{Uncopied, UncopiedVec};

/// The room of a queue at first. One that outgrows it leaves it unused.
const FEW: usize = 4;

pub(super) struct Queue<T> {
    /// The first entries, in the reverse order.
    first: UncopiedVec<T>,
    /// The entries after those, in their order.
    rest: UncopiedVec<T>,
}

impl<T> Extend<T> for Queue<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        self.rest.extend(entries);
    }
}

impl<T> Queue<T> {
    pub(super) fn new(memory: &Uncopied) -> Queue<T> {
        Queue { first: memory.vec(FEW), rest: memory.vec(FEW) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.rest.is_empty()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.first.last().or(self.rest.first())
    }

    /// All entries in their order, for tests.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().rev().chain(&self.rest[..])
    }

    pub(super) fn clear(&mut self) {
        self.first.clear();
        self.rest.clear();
    }

    pub(super) fn push_front(&mut self, entry: T) {
        self.first.push(entry);
    }

    pub(super) fn push_back(&mut self, entry: T) {
        self.rest.push(entry);
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        if self.first.is_empty() {
            while let Some(last) = self.rest.pop() {
                self.first.push(last);
            }
        }
        self.first.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_in_their_order() {
        let mut queue = Queue::new(&Uncopied::default());
        assert!(queue.is_empty());
        assert_eq!(queue.front(), None::<&i32>);
        assert_eq!(queue.pop_front(), None);
        for entry in [2, 3, 4] {
            queue.push_back(entry);
        }
        queue.push_front(1);
        queue.push_front(0);
        assert_eq!(queue.front(), Some(&0));
        assert_eq!([(); 3].map(|()| queue.pop_front()), [Some(0), Some(1), Some(2)]);
        queue.push_back(5);
        queue.push_front(6);
        assert!(!queue.is_empty());
        let rest: Vec<i32> = std::iter::from_fn(|| queue.pop_front()).collect();
        assert_eq!(rest, [6, 3, 4, 5]);
        assert!(queue.is_empty());
        queue.extend([1, 2, 3]);
        assert_eq!((queue.pop_front(), queue.iter().copied().collect()), (Some(1), vec![2, 3]));
        queue.push_back(4);
        queue.clear();
        assert_eq!(queue.pop_front(), None);
    }
}
