//! Plain data as words, separated by spaces, that another build of this crate reads back.
//!
//! It must not know what the data mean. Nothing is read that was not written: too few words, one too many, or one that
//! means nothing are an error.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// What can be written as words and read back.
pub(crate) trait Words: Sized {
    fn write(&self, to: &mut String);
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

/// The words that were not read yet.
pub(crate) struct Reader<'a>(std::str::SplitAsciiWhitespace<'a>);

pub(crate) fn written(value: &impl Words) -> String {
    let mut words = String::new();
    value.write(&mut words);
    words
}

/// The value, if these are its words and no others.
pub(crate) fn read<T: Words>(words: &str) -> Option<T> {
    let mut reader = Reader(words.split_ascii_whitespace());
    let value = T::read(&mut reader)?;
    reader.0.next().is_none().then_some(value)
}

fn put(word: impl std::fmt::Display, to: &mut String) {
    if !to.is_empty() {
        to.push(' ');
    }
    to.push_str(&word.to_string());
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Words for $number {
            fn write(&self, to: &mut String) {
                put(self, to);
            }
            fn read(from: &mut Reader<'_>) -> Option<Self> {
                from.0.next()?.parse().ok()
            }
        }
    )*};
}
numbers!(bool, i32, u32, u64, u128, usize);

/// In nanoseconds.
impl Words for Duration {
    fn write(&self, to: &mut String) {
        self.as_nanos().write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let nanoseconds = u128::read(from)?;
        let seconds = u64::try_from(nanoseconds / 1_000_000_000).ok()?;
        Some(Duration::new(seconds, (nanoseconds % 1_000_000_000) as u32))
    }
}

/// A dot and what is in it, with all that is no plain letter or digit in hexadecimal.
impl Words for OsString {
    fn write(&self, to: &mut String) {
        let mut word = String::from(".");
        for &byte in self.as_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b':' => word.push(byte.into()),
                _ => word.push_str(&format!("%{byte:02x}")),
            }
        }
        put(word, to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut bytes = from.0.next()?.strip_prefix('.')?.bytes();
        let mut text = Vec::new();
        while let Some(byte) = bytes.next() {
            text.push(match byte {
                b'%' => u8::from_str_radix(std::str::from_utf8(&[bytes.next()?, bytes.next()?]).ok()?, 16).ok()?,
                _ => byte,
            });
        }
        Some(OsString::from_vec(text))
    }
}

impl Words for PathBuf {
    fn write(&self, to: &mut String) {
        self.as_os_str().to_owned().write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        OsString::read(from).map(PathBuf::from)
    }
}

impl Words for String {
    fn write(&self, to: &mut String) {
        OsStr::new(self).to_owned().write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        OsString::read(from)?.into_string().ok()
    }
}

/// Whether there is one, and which.
impl<T: Words> Words for Option<T> {
    fn write(&self, to: &mut String) {
        self.is_some().write(to);
        self.iter().for_each(|value| value.write(to));
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(if bool::read(from)? { Some(T::read(from)?) } else { None })
    }
}

/// How many, and which.
impl<T: Words> Words for Vec<T> {
    fn write(&self, to: &mut String) {
        self.len().write(to);
        self.iter().for_each(|value| value.write(to));
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        (0..usize::read(from)?).map(|_| T::read(from)).collect()
    }
}

impl<A: Words, B: Words> Words for (A, B) {
    fn write(&self, to: &mut String) {
        self.0.write(to);
        self.1.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::read(from)?, B::read(from)?))
    }
}

/// The fields of a structure, in this order.
macro_rules! words_of_fields {
    ($ty:ty { $($field:ident),* $(,)? }) => {
        impl $crate::upgrade::words::Words for $ty {
            fn write(&self, to: &mut String) {
                $($crate::upgrade::words::Words::write(&self.$field, to);)*
            }
            fn read(from: &mut $crate::upgrade::words::Reader<'_>) -> Option<Self> {
                $(let $field = $crate::upgrade::words::Words::read(from)?;)*
                Some(Self { $($field),* })
            }
        }
    };
}
pub(crate) use words_of_fields;

/// A number for each value there is.
macro_rules! words_of_values {
    ($ty:ty { $($number:literal => $value:expr),* $(,)? }) => {
        impl $crate::upgrade::words::Words for $ty {
            fn write(&self, to: &mut String) {
                let number = [$(($number, $value)),*].into_iter().find(|(_, value)| value == self);
                $crate::upgrade::words::Words::write(&number.map_or(u32::MAX, |(number, _)| number), to);
            }
            fn read(from: &mut $crate::upgrade::words::Reader<'_>) -> Option<Self> {
                let number: u32 = $crate::upgrade::words::Words::read(from)?;
                [$(($number, $value)),*].into_iter().find(|&(known, _)| known == number).map(|(_, value)| value)
            }
        }
    };
}
pub(crate) use words_of_values;

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<T: Words + PartialEq + std::fmt::Debug>(value: T) {
        let words = written(&value);
        assert_eq!(read::<T>(&words), Some(value), "{words}");
        assert_eq!(read::<T>(&format!("{words} 0")).map(drop), None, "a word too many");
        let fewer = words.rsplit_once(' ').map_or("", |(fewer, _)| fewer);
        assert_eq!(read::<T>(fewer).map(drop), None, "a word too few");
    }

    #[test]
    fn what_is_written_can_be_read() {
        comes_back((-3, true));
        comes_back(u64::MAX);
        comes_back(Duration::MAX);
        comes_back(vec![Some("with space, \n and ä".to_owned()), None, Some(String::new())]);
        comes_back(OsString::from_vec(vec![0xff, b'%', b' ', 0x80]));
        comes_back(PathBuf::from("/srv/app/current/app"));
    }

    #[test]
    fn what_means_nothing_is_no_value() {
        for word in ["", "x", "-1", "1.5", "4294967296"] {
            assert_eq!(read::<u32>(word), None, "{word}");
        }
        for word in ["plain", ".%", ".%4", ".%zz", ".%ff"] {
            assert_eq!(read::<String>(word), None, "{word}");
        }
        assert_eq!(read::<Vec<u32>>("18446744073709551615 1"), None);
    }
}
