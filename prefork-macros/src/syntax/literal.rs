//! The value of a literal, as far as an option must know.

use proc_macro2::{Literal, Span};

/// A literal.
pub(crate) enum Lit {
    Text(Text),
    Integer(Integer),
    Bool,
    /// A fraction, a character, bytes, or a number with a suffix that Rust has not, such as `30s`.
    Other,
}

/// A string.
pub(crate) struct Text {
    /// What it stands for.
    pub(crate) value: String,
    /// What follows it without a space, which rustc refuses.
    pub(crate) suffix: String,
    pub(crate) span: Span,
}

/// An integer, without its sign.
pub(crate) struct Integer {
    /// In decimal digits. What is larger than a `u128` is as written, without underscores.
    pub(crate) value: String,
    /// The digits as written, with `0x`, `0o` or `0b` before them.
    pub(crate) digits: String,
    /// The name of its type, or nothing.
    pub(crate) suffix: String,
}

impl Lit {
    pub(crate) fn new(literal: &Literal) -> Lit {
        let written = literal.to_string();
        match (Text::new(&written, literal.span()), Integer::new(&written)) {
            (Some(text), _) => Lit::Text(text),
            (None, Some(integer)) => Lit::Integer(integer),
            (None, None) => Lit::Other,
        }
    }
}

impl Text {
    /// Reads `"…"` or `r#"…"#`.
    fn new(written: &str, span: Span) -> Option<Text> {
        let raw = written.strip_prefix('r').map(|quoted| quoted.trim_start_matches('#'));
        let (inside, after) = raw.unwrap_or(written).strip_prefix('"')?.rsplit_once('"')?;
        let value = if raw.is_some() { inside.to_owned() } else { unescaped(inside)? };
        Some(Text { value, suffix: after.trim_start_matches('#').to_owned(), span })
    }
}

impl Integer {
    fn new(written: &str) -> Option<Integer> {
        let radix = match written.get(..2) {
            Some("0x") => 16,
            Some("0o") => 8,
            Some("0b") => 2,
            _ => 10,
        };
        let start = if radix == 10 { 0 } else { 2 };
        let is_digit = |char: char| char == '_' || char.is_digit(radix);
        let end = written[start..].find(|char| !is_digit(char)).map_or(written.len(), |length| start + length);
        let (digits, suffix) = written.split_at(end);
        let plain = digits.replace('_', "");
        let value = u128::from_str_radix(plain.get(start..)?, radix).map_or(plain.clone(), |value| value.to_string());
        let has_rust_s_suffix = suffix.is_empty() || suffix.starts_with(['i', 'u']);
        let is_integer = plain.len() > start && has_rust_s_suffix;
        is_integer.then(|| Integer { value, digits: digits.to_owned(), suffix: suffix.to_owned() })
    }
}

/// What stands between the quotes of `"…"`, without its escapes.
fn unescaped(inside: &str) -> Option<String> {
    let mut rest = inside;
    let mut value = String::new();
    while let Some((before, escape)) = rest.split_once('\\') {
        value.push_str(before);
        let mut chars = escape.chars();
        let first = chars.next()?;
        rest = chars.as_str();
        match first {
            'n' => value.push('\n'),
            'r' => value.push('\r'),
            't' => value.push('\t'),
            '0' => value.push('\0'),
            '\\' | '\'' | '"' => value.push(first),
            'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                value.push(character(digits)?);
                rest = after;
            }
            'u' => {
                let (digits, after) = rest.strip_prefix('{')?.split_once('}')?;
                value.push(character(&digits.replace('_', ""))?);
                rest = after;
            }
            // The string goes on at the next line's first character that is not a space.
            '\n' => rest = rest.trim_start_matches([' ', '\t', '\n', '\r']),
            _ => return None,
        }
    }
    Some(value + rest)
}

/// The character of this number.
fn character(hexadecimal: &str) -> Option<char> {
    u32::from_str_radix(hexadecimal, 16).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lit(written: &str) -> Lit {
        Lit::new(&written.parse().expect("a literal"))
    }

    #[test]
    fn a_string_s_value_is_what_rustc_reads() {
        macro_rules! strings {
            ($($literal:literal)+) => { [$((stringify!($literal), $literal)),+] };
        }
        let strings = strings!(
            "" "a" "\"" "\\" "\\n" "a\tb\r\n\0" "\x41\x7f" "\u{e9}\u{1_F600}é" "a \
             b" r"a" r"a\n" r#"a"b"# r##"#"#"## r""
        );
        for (written, value) in strings {
            assert!(matches!(lit(written), Lit::Text(text) if text.value == value), "{written}");
        }
        for (written, suffix) in [("\"a\"", ""), ("\"a\"u8", "u8"), ("r#\"a\"#", ""), ("r#\"a\"#u8", "u8")] {
            let Lit::Text(text) = lit(written) else { panic!("{written} is no string") };
            assert_eq!([&text.value[..], &text.suffix], ["a", suffix], "{written}");
        }
    }

    #[test]
    fn an_integer_has_a_value_and_perhaps_one_of_rust_s_suffixes() {
        for (written, value, digits, suffix) in [
            ("0", "0", "0", ""),
            ("1_000", "1000", "1_000", ""),
            ("0xFf", "255", "0xFf", ""),
            ("0x1_0u8", "16", "0x1_0", "u8"),
            ("0o17", "15", "0o17", ""),
            ("0b101i64", "5", "0b101", "i64"),
            ("027", "27", "027", ""),
            ("4usize", "4", "4", "usize"),
            (
                "9_000000000000000000000000000000000000000u64",
                "9000000000000000000000000000000000000000",
                "9_000000000000000000000000000000000000000",
                "u64",
            ),
        ] {
            let Lit::Integer(integer) = lit(written) else { panic!("{written} is no integer") };
            let found = [&integer.value[..], &integer.digits, &integer.suffix];
            assert_eq!(found, [value, digits, suffix], "{written}");
        }
    }

    #[test]
    fn other_literals_have_no_value_here() {
        for written in
            ["1.5", "1.", "1e5", "2E-3", "1f32", "30s", "512MiB", "'a'", "b'a'", "b\"a\"", "br\"a\"", "c\"a\""]
        {
            assert!(matches!(lit(written), Lit::Other), "{written}");
        }
    }
}
