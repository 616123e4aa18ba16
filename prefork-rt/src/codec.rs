//! Plain data as words, separated by spaces, that another build of this crate reads back if its data have this shape.
//!
//! It must not know what the data mean. Nothing is read that was not written: too few words, one too many, or one that
//! means nothing are an error. Words in another shape can look right and mean something else, such as two numbers in the
//! other order: so builds compare their shapes before they read. The macros that make the words make the shape, too.

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

    /// The same pool, as different builds may have it.
    macro_rules! build {
        ($name:ident: $kind:item $($items:item)*) => {
            #[allow(dead_code, reason = "these are there for their shapes")]
            mod $name {
                #[derive(Debug, PartialEq)]
                $kind
                $($items)*
            }
        };
    }
    build! { plain:
        pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
        words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
        struct Nested(u64);
        words_of_fields!(Nested { 0 });
        pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
        words_of_fields!(Pool { first, second, kinds, nested });
    }
    build! { with_fields_in_another_order:
        pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
        words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
        struct Nested(u64);
        words_of_fields!(Nested { 0 });
        pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
        words_of_fields!(Pool { second, first, kinds, nested });
    }
    build! { with_fields_of_a_variant_in_another_order:
        pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
        words_of_variants!(Kind { Idle, Busy(count), Gone { why, at } });
        struct Nested(u64);
        words_of_fields!(Nested { 0 });
        pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
        words_of_fields!(Pool { first, second, kinds, nested });
    }
    build! { with_another_name_for_a_field:
        pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
        words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
        struct Nested(u64);
        words_of_fields!(Nested { 0 });
        pub(super) struct Pool { first: u64, last: u64, kinds: Vec<Kind>, nested: Option<Nested> }
        words_of_fields!(Pool { first, last, kinds, nested });
    }
    build! { with_another_name_for_a_variant:
        pub(super) enum Kind { Idle, Full(u32), Gone { at: u64, why: u64 } }
        words_of_variants!(Kind { Idle, Full(count), Gone { at, why } });
        struct Nested(u64);
        words_of_fields!(Nested { 0 });
        pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
        words_of_fields!(Pool { first, second, kinds, nested });
    }
    build! { with_another_type_in_a_nested_one:
        pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
        words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
        struct Nested(i32);
        words_of_fields!(Nested { 0 });
        pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
        words_of_fields!(Pool { first, second, kinds, nested });
    }
    build! { with_another_type_in_a_variant:
        pub(super) enum Kind { Idle, Busy(u64), Gone { at: u64, why: u64 } }
        words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
        struct Nested(u64);
        words_of_fields!(Nested { 0 });
        pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
        words_of_fields!(Pool { first, second, kinds, nested });
    }

    #[test]
    fn builds_of_another_shape_have_another_number() {
        let mut numbers = vec![
            number_of(&plain::Pool::shape()),
            number_of(&with_fields_in_another_order::Pool::shape()),
            number_of(&with_fields_of_a_variant_in_another_order::Pool::shape()),
            number_of(&with_another_name_for_a_field::Pool::shape()),
            number_of(&with_another_name_for_a_variant::Pool::shape()),
            number_of(&with_another_type_in_a_nested_one::Pool::shape()),
            number_of(&with_another_type_in_a_variant::Pool::shape()),
        ];
        let builds = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), builds);
    }

    #[test]
    fn a_shape_names_all_that_is_in_it() {
        let kind = "Kind{Idle:{},Busy:{count:u32*4},Gone:{at:u64*8,why:u64*8}}";
        let pool = format!("Pool{{first:u64*8,second:u64*8,kinds:Vec<{kind}>,nested:Option<Nested{{0:u64*8}}>}}");
        assert_eq!(plain::Pool::shape(), pool);
    }

    #[test]
    fn a_number_is_that_of_fnv_1a() {
        for (text, number) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(number_of(text), number, "{text}");
        }
    }

    #[test]
    fn variants_come_back_by_name() {
        use plain::Kind;
        for kind in [Kind::Idle, Kind::Busy(7), Kind::Gone { at: 1, why: 2 }] {
            comes_back(kind);
        }
        assert_eq!(written(&Kind::Gone { at: 1, why: 2 }), "Gone 1 2");
        assert_eq!(read::<Kind>("Idl"), None);
    }
}
