//! Plain data as words, separated by spaces, that another build of this crate reads back if its data have this shape.
//!
//! It must not know what the data mean. Only what was written can be read: a missing word, an extra word, or a word without
//! a meaning is an error. Words in another shape can look right and mean something else, such as two numbers in the other
//! order, so builds compare their shapes before they read. The macros that write the words also compute the shape.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// What can be written as words and read back.
pub(crate) trait Words: Sized {
    /// The names of the type and of its fields or variants, and the shapes of these, in the order in which they are
    /// written.
    fn shape() -> String;
    fn write(&self, to: &mut String);
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

/// The shape of a field's type, which the compiler finds out.
pub(crate) fn shape_of_field<S, F: Words>(_: fn(&S) -> &F) -> String {
    F::shape()
}

/// The number of a shape, the same in every build and on every machine: FNV-1a with 64 bits.
pub(crate) fn number_of(shape: &str) -> u64 {
    shape.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
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
            fn shape() -> String {
                format!("{}*{}", stringify!($number), size_of::<$number>())
            }
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
    fn shape() -> String {
        format!("Duration={}", written(&Duration::new(1, 1)))
    }
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
    fn shape() -> String {
        format!("OsString={}", written(&OsString::from("a b")))
    }
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
    fn shape() -> String {
        format!("PathBuf={}", OsString::shape())
    }
    fn write(&self, to: &mut String) {
        self.as_os_str().to_owned().write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        OsString::read(from).map(PathBuf::from)
    }
}

impl Words for String {
    fn shape() -> String {
        format!("String={}", OsString::shape())
    }
    fn write(&self, to: &mut String) {
        OsStr::new(self).to_owned().write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        OsString::read(from)?.into_string().ok()
    }
}

/// Whether there is one, and which.
impl<T: Words> Words for Option<T> {
    fn shape() -> String {
        format!("Option<{}>", T::shape())
    }
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
    fn shape() -> String {
        format!("Vec<{}>", T::shape())
    }
    fn write(&self, to: &mut String) {
        self.len().write(to);
        self.iter().for_each(|value| value.write(to));
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        (0..usize::read(from)?).map(|_| T::read(from)).collect()
    }
}

impl<A: Words, B: Words> Words for (A, B) {
    fn shape() -> String {
        format!("({},{})", A::shape(), B::shape())
    }
    fn write(&self, to: &mut String) {
        self.0.write(to);
        self.1.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::read(from)?, B::read(from)?))
    }
}

/// The fields of a structure, in this order; a field without a name is its number.
macro_rules! words_of_fields {
    ($ty:ident { $($field:tt),* $(,)? }) => {
        impl $crate::codec::Words for $ty {
            fn shape() -> String {
                let fields: &[(&str, String)] = &[
                    $((stringify!($field), $crate::codec::shape_of_field(|it: &$ty| &it.$field))),*
                ];
                $crate::codec::shape_of_parts(stringify!($ty), fields)
            }
            fn write(&self, to: &mut String) {
                $($crate::codec::Words::write(&self.$field, to);)*
            }
            fn read(from: &mut $crate::codec::Reader<'_>) -> Option<Self> {
                // They are evaluated in the order in which they stand.
                Some($ty { $($field: $crate::codec::Words::read(from)?),* })
            }
        }
    };
}
pub(crate) use words_of_fields;

/// A variant's name, and then what is in it: nothing, one value, or values with names.
macro_rules! words_of_variants {
    ($ty:ident { $($variant:ident $(($value:ident))? $({ $($field:ident),* $(,)? })?),* $(,)? }) => {
        impl $crate::codec::Words for $ty {
            fn shape() -> String {
                let variants: &[(&str, String)] = &[$((stringify!($variant), {
                    let parts: &[(&str, String)] = &[
                        $((stringify!($value), $crate::codec::shape_of_field(|it: &$ty| match it {
                            $ty::$variant($value) => $value,
                            _ => unreachable!("it is called for no value"),
                        })))?
                        $($((stringify!($field), $crate::codec::shape_of_field(|it: &$ty| match it {
                            $ty::$variant { $field, .. } => $field,
                            _ => unreachable!("it is called for no value"),
                        }))),*)?
                    ];
                    $crate::codec::shape_of_parts("", parts)
                })),*];
                $crate::codec::shape_of_parts(stringify!($ty), variants)
            }
            fn write(&self, to: &mut String) {
                match self {
                    $($ty::$variant $(($value))? $({ $($field),* })? => {
                        $crate::codec::write_name(stringify!($variant), to);
                        $($crate::codec::Words::write($value, to);)?
                        $($($crate::codec::Words::write($field, to);)*)?
                    })*
                }
            }
            fn read(from: &mut $crate::codec::Reader<'_>) -> Option<Self> {
                match from.name()? {
                    $(stringify!($variant) => {
                        $(let $value = $crate::codec::Words::read(from)?;)?
                        $($(let $field = $crate::codec::Words::read(from)?;)*)?
                        Some($ty::$variant $(($value))? $({ $($field),* })?)
                    })*
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use words_of_variants;

/// For the macros.
pub(crate) fn shape_of_parts(name: &str, parts: &[(&str, String)]) -> String {
    let parts: Vec<String> = parts.iter().map(|(name, shape)| format!("{name}:{shape}")).collect();
    format!("{name}{{{}}}", parts.join(","))
}

/// For the macros.
pub(crate) fn write_name(name: &str, to: &mut String) {
    put(name, to);
}

impl<'a> Reader<'a> {
    /// For the macros.
    pub(crate) fn name(&mut self) -> Option<&'a str> {
        self.0.next()
    }
}

#[cfg(test)]
mod tests;
