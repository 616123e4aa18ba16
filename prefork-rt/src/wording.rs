//! Text that is made where it is written, and takes no memory of its own.
//!
//! The supervisor writes lines between two forks. An allocation there copies pages that it shares with its workers: those of
//! the text, and those in which the allocator notes what is free.

use std::fmt;

/// What this function writes.
pub(crate) fn words(write: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) -> impl fmt::Display {
    Words(write)
}

/// "one, two and three" of this many; where there are more than `most`, "one, two and 5 more". `name` writes one of them.
pub(crate) fn list(
    count: usize,
    most: usize,
    name: impl Fn(usize, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> impl fmt::Display {
    words(move |f| write_list(count, most, &name, f))
}

fn write_list(
    count: usize,
    most: usize,
    name: &dyn Fn(usize, &mut fmt::Formatter<'_>) -> fmt::Result,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for nth in 0..count.min(most) {
        f.write_str(match nth {
            0 => "",
            _ if nth + 1 == count => " and ",
            _ => ", ",
        })?;
        name(nth, f)?;
    }
    match count.checked_sub(most) {
        Some(more @ 1..) => write!(f, " and {more} more"),
        _ => Ok(()),
    }
}

struct Words<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Words<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_the_first_and_says_how_many_more_there_are() {
        let listed = |count| list(count, 3, |nth, f| write!(f, "{nth}")).to_string();
        let lists = ["", "0", "0 and 1", "0, 1 and 2", "0, 1, 2 and 1 more", "0, 1, 2 and 2 more"];
        assert_eq!([0, 1, 2, 3, 4, 5].map(listed), lists);
    }
}
