//! Text that is made where it is written, and takes no memory of its own.
//!
//! The supervisor writes lines between two forks. An allocation there copies pages that it shares with its workers: those of
//! the text, and those in which the allocator notes what is free.

use std::fmt;

/// What this function writes.
pub(crate) fn words(write: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) -> impl fmt::Display {
    Words(write)
}

struct Words<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Words<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}
