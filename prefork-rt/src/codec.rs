//! Plain data as words, separated by spaces, that another build of this crate reads back if its data have this shape.
//!
//! It must not know what the data mean. Only what was written can be read: a missing word, an extra word, or a word without
//! a meaning is an error. Words in another shape can look right and mean something else, such as two numbers in the other
//! order, so builds compare their shapes before they read. The macros that write the words also compute the shape.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// What can be written as words and read back.
pub(crate) trait Words: Sized {
    const SHAPE: &'static Shape;
    fn write(&self, to: &mut String);
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

/// The names of a type and of its fields or variants, and the shapes of these, in the order in which they are written. The
/// compiler alone looks at shapes: in the program each name would be a pointer for the dynamic loader to adjust.
pub(crate) enum Shape {
    /// A number, and how many bytes it takes.
    Number(&'static str, usize),
    /// What is written by code of this file, and an example, as a test finds it written.
    Example(&'static str, &'static str),
    /// It is written as another type.
    Like(&'static str, &'static Shape),
    Option(&'static Shape),
    Vec(&'static Shape),
    Pair(&'static Shape, &'static Shape),
    /// A structure or an enumeration, or a variant, whose name stands before it.
    Parts(&'static str, &'static [(&'static str, &'static Shape)]),
}

/// The number of a text, the same in every build and on every machine: FNV-1a with 64 bits. It can be computed piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) u64);

impl Number {
    pub(crate) const OF_NOTHING: Number = Number(0xcbf2_9ce4_8422_2325);

    /// The number of the text before and this one.
    pub(crate) const fn then(self, text: &str) -> Number {
        let (mut number, bytes) = (self, text.as_bytes());
        let mut index = 0;
        while index < bytes.len() {
            number = number.then_byte(bytes[index]);
            index += 1;
        }
        number
    }

    const fn then_byte(self, byte: u8) -> Number {
        Number((self.0 ^ byte as u64).wrapping_mul(0x100_0000_01b3))
    }

    const fn then_decimal(self, number: usize) -> Number {
        let before = if number >= 10 { self.then_decimal(number / 10) } else { self };
        before.then_byte(b'0' + (number % 10) as u8)
    }

    /// The number of the text before and the text of this shape, such as `Pool{size:u64*8,slots:Vec<Slot{0:u64*8}>}`.
    pub(crate) const fn then_shape(self, shape: &Shape) -> Number {
        match shape {
            Shape::Number(name, size) => self.then(name).then("*").then_decimal(*size),
            Shape::Example(name, example) => self.then(name).then("=").then(example),
            Shape::Like(name, other) => self.then(name).then("=").then_shape(other),
            Shape::Option(inner) => self.then("Option<").then_shape(inner).then(">"),
            Shape::Vec(inner) => self.then("Vec<").then_shape(inner).then(">"),
            Shape::Pair(first, second) => self.then("(").then_shape(first).then(",").then_shape(second).then(")"),
            Shape::Parts(name, parts) => {
                let mut number = self.then(name).then("{");
                let mut index = 0;
                while index < parts.len() {
                    let comma = if index == 0 { "" } else { "," };
                    let (name, shape) = parts[index];
                    number = number.then(comma).then(name).then(":").then_shape(shape);
                    index += 1;
                }
                number.then("}")
            }
        }
    }
}

/// The shape of a field's type, which the compiler finds out.
pub(crate) const fn shape_of_field<S, F: Words>(_: fn(&S) -> &F) -> &'static Shape {
    F::SHAPE
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

fn put(word: &dyn fmt::Display, to: &mut String) {
    let space = if to.is_empty() { "" } else { " " };
    // A String takes whatever is written.
    let _ = write!(to, "{space}{word}");
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Words for $number {
            const SHAPE: &'static Shape = &Shape::Number(stringify!($number), size_of::<$number>());
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
    const SHAPE: &'static Shape = &Shape::Example("Duration", "1000000001");
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
    const SHAPE: &'static Shape = &Shape::Example("OsString", ".a%20b");
    fn write(&self, to: &mut String) {
        let mut word = String::from(".");
        for &byte in self.as_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b':' => word.push(byte.into()),
                _ => word.push_str(&format!("%{byte:02x}")),
            }
        }
        put(&word, to);
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
    const SHAPE: &'static Shape = &Shape::Like("PathBuf", OsString::SHAPE);
    fn write(&self, to: &mut String) {
        self.as_os_str().to_owned().write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        OsString::read(from).map(PathBuf::from)
    }
}

impl Words for String {
    const SHAPE: &'static Shape = &Shape::Like("String", OsString::SHAPE);
    fn write(&self, to: &mut String) {
        OsStr::new(self).to_owned().write(to);
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        OsString::read(from)?.into_string().ok()
    }
}

/// Whether there is one, and which.
impl<T: Words> Words for Option<T> {
    const SHAPE: &'static Shape = &Shape::Option(T::SHAPE);
    fn write(&self, to: &mut String) {
        self.is_some().write(to);
        if let Some(value) = self {
            value.write(to);
        }
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(if bool::read(from)? { Some(T::read(from)?) } else { None })
    }
}

/// How many, and which.
impl<T: Words> Words for Vec<T> {
    const SHAPE: &'static Shape = &Shape::Vec(T::SHAPE);
    fn write(&self, to: &mut String) {
        self.len().write(to);
        for value in self {
            value.write(to);
        }
    }
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut values = Vec::new();
        for _ in 0..usize::read(from)? {
            values.push(T::read(from)?);
        }
        Some(values)
    }
}

impl<A: Words, B: Words> Words for (A, B) {
    const SHAPE: &'static Shape = &Shape::Pair(A::SHAPE, B::SHAPE);
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
            const SHAPE: &'static $crate::codec::Shape = &$crate::codec::Shape::Parts(stringify!($ty), &[
                $((stringify!($field), $crate::codec::shape_of_field(|it: &$ty| &it.$field))),*
            ]);
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
            const SHAPE: &'static $crate::codec::Shape = &$crate::codec::Shape::Parts(stringify!($ty), &[
                $((stringify!($variant), &$crate::codec::Shape::Parts("", &[
                    $((stringify!($value), $crate::codec::shape_of_field(|it: &$ty| match it {
                        $ty::$variant($value) => $value,
                        _ => unreachable!("it is called for no value"),
                    })))?
                    $($((stringify!($field), $crate::codec::shape_of_field(|it: &$ty| match it {
                        $ty::$variant { $field, .. } => $field,
                        _ => unreachable!("it is called for no value"),
                    }))),*)?
                ]))),*
            ]);
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
pub(crate) fn write_name(name: &str, to: &mut String) {
    put(&name, to);
}

impl<'a> Reader<'a> {
    /// For the macros.
    pub(crate) fn name(&mut self) -> Option<&'a str> {
        self.0.next()
    }
}

#[cfg(test)]
mod tests;
