//! A queue that keeps its first entry in place.
//!
//! The supervisor's heap is shared with all workers, so that the first write to each page after a fork copies it. The
//! policy's queues mostly hold one entry between two forks: in place, it is in the policy itself, which a fork does not copy.

use std::collections::VecDeque;

pub(super) struct Queue<T> {
    /// `None` where the queue is empty.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { first: None, rest: VecDeque::new() }
    }
}

impl<T> FromIterator<T> for Queue<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Queue<T> {
        let mut entries = entries.into_iter();
        Queue { first: entries.next(), rest: entries.collect() }
    }
}

impl<T> Extend<T> for Queue<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        for entry in entries {
            self.push_back(entry);
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// All entries in their order, for tests.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    pub(super) fn push_front(&mut self, entry: T) {
        if let Some(second) = self.first.replace(entry) {
            self.rest.push_front(second);
        }
    }

    pub(super) fn push_back(&mut self, entry: T) {
        match self.first {
            None => self.first = Some(entry),
            Some(_) => self.rest.push_back(entry),
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take()?;
        if !self.rest.is_empty() {
            self.first = self.rest.pop_front();
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_in_their_order() {
        let mut queue = Queue::default();
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
    }
}
