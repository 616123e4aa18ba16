//! A value in memory that is not freed when the value is taken out.
//!
//! A forked process that frees memory writes to it, and so copies pages that it shares with its parent.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A box whose memory is never freed. Its value is not dropped, unless it is taken out.
pub(crate) struct Unfreed<T> {
    place: NonNull<T>,
}

impl<T> Unfreed<T> {
    pub(crate) fn new(value: Box<T>) -> Unfreed<T> {
        Unfreed { place: NonNull::from(Box::leak(value)) }
    }

    /// Takes the value out, and leaves its memory as it is.
    #[inline]
    pub(crate) fn take(self) -> T {
        // SAFETY: the value is at the place, which is valid for ever. It is read once, as no other `Unfreed` has the place and
        // this one is gone afterwards.
        unsafe { self.place.read() }
    }
}

impl<T> Deref for Unfreed<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the value is at the place, and no code changes it while `self` is borrowed.
        unsafe { self.place.as_ref() }
    }
}

impl<T> DerefMut for Unfreed<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the value is at the place, and no other code has it while `self` is borrowed for writing.
        unsafe { self.place.as_mut() }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn the_value_that_is_taken_out_is_the_one_that_was_changed_and_is_dropped_once() {
        let counted = Rc::new(());
        let mut unfreed = Unfreed::new(Box::new((1, counted.clone())));
        unfreed.0 += 1;
        assert_eq!((unfreed.0, Rc::strong_count(&counted)), (2, 2));
        let (number, taken) = unfreed.take();
        assert_eq!((number, Rc::strong_count(&counted)), (2, 2));
        drop(taken);
        assert_eq!(Rc::strong_count(&counted), 1);
    }

    #[test]
    fn a_value_that_is_not_taken_out_is_not_dropped() {
        let counted = Rc::new(());
        {
            let _unfreed = Unfreed::new(Box::new(counted.clone()));
        }
        assert_eq!(Rc::strong_count(&counted), 2);
    }
}
