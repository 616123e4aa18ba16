//! An option for statics that a worker writes to.

use std::mem;

/// An `Option` that is all zeros while it is empty, so that a static of it lies in `.bss`, as most others do that a worker
/// writes to. `None` of most types is not, and would lie in `.data`: one page more that each worker copies.
#[repr(u8)] // The first variant has the tag 0, and no tag hides in a value.
pub(crate) enum ZeroedOption<T> {
    None,
    Some(T),
}

impl<T> ZeroedOption<T> {
    #[inline]
    pub(crate) fn as_ref(&self) -> Option<&T> {
        match self {
            ZeroedOption::None => None,
            ZeroedOption::Some(value) => Some(value),
        }
    }

    pub(crate) fn get_or_insert_with(&mut self, make: impl FnOnce() -> T) -> &mut T {
        if let ZeroedOption::None = self {
            *self = ZeroedOption::Some(make());
        }
        match self {
            ZeroedOption::Some(value) => value,
            ZeroedOption::None => unreachable!("it was filled in above"),
        }
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        match mem::replace(self, ZeroedOption::None) {
            ZeroedOption::None => None,
            ZeroedOption::Some(value) => Some(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_option() {
        let mut option = ZeroedOption::None;
        assert_eq!(option.as_ref(), None);
        assert_eq!(option.get_or_insert_with(|| 1), &1);
        assert_eq!(option.get_or_insert_with(|| 2), &1);
        assert_eq!((option.take(), option.take()), (Some(1), None));
    }

    #[test]
    fn no_tag_hides_in_a_value() {
        // An `Option` of a `Vec` is as large as the `Vec`, whose capacity then says that there is none.
        assert!(size_of::<ZeroedOption<Vec<u8>>>() > size_of::<Option<Vec<u8>>>());
    }
}
