//! Amounts of memory.
//!
//! It must not know how memory is measured.

use super::number::number_and_unit;

/// No process has less.
const LEAST_MEMORY: u64 = 1 << 20;

/// How much memory a worker may have, in bytes: `"512MiB"`, or a plain number; `None` is `"none"`.
pub(crate) fn max_memory(text: &str) -> Result<Option<u64>, String> {
    match text {
        "none" => Ok(None),
        _ => check_max_memory(size(text)?, text).map(Some),
    }
}

/// Checks a number of bytes; `text` is how it was written.
pub(crate) fn check_max_memory(bytes: u64, text: &str) -> Result<u64, String> {
    if bytes < LEAST_MEMORY {
        return Err(format!(
            "{text} is {bytes} bytes, which is less than any process has: write for example \"512MiB\", or \"none\""
        ));
    }
    Ok(bytes)
}

fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text);
    if number.is_empty() {
        return Err(format!(
            "{text:?} is not a size: write a number and a unit, for example \"512MiB\" or \"2GiB\", or \"none\""
        ));
    }
    let factor = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ if unit.starts_with('.') => {
            return Err(format!("{text:?} is not a whole number: use a smaller unit, for example \"1536MiB\""));
        }
        _ => {
            let example = unit_of_size(unit).map_or("512MiB".to_owned(), |meant| format!("{number}{meant}"));
            return Err(format!(
                "{text:?} has an unknown unit {unit:?}: write for example {example:?} (units: KiB, MiB, GiB, TiB)"
            ));
        }
    };
    let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(factor));
    bytes.ok_or_else(|| format!("{text:?} is more than any machine has: write for example \"512MiB\", or \"none\""))
}

/// What other programs call a unit: `M`, `mb`, `MiB` after a space.
fn unit_of_size(unit: &str) -> Option<&'static str> {
    match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "t" | "tb" | "tib" => Some("TiB"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_size_has_a_word_for_it() {
        assert_eq!(max_memory("none"), Ok(None));
        for bad in ["", "off", "None"] {
            assert!(max_memory(bad).unwrap_err().ends_with(", or \"none\""), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        assert_eq!(max_memory("1048576"), Ok(Some(1 << 20)));
        assert_eq!(max_memory("1024KiB"), Ok(Some(1 << 20)));
        assert_eq!(max_memory("512MiB"), Ok(Some(512 << 20)));
        assert_eq!(max_memory("2GiB"), Ok(Some(2 << 30)));
        assert_eq!(max_memory("1TiB"), Ok(Some(1 << 40)));
        assert_eq!(max_memory("18446744073709551615"), Ok(Some(u64::MAX)));
        assert_eq!(check_max_memory(1 << 20, "1048576"), Ok(1 << 20));
        assert_eq!(
            max_memory("512").unwrap_err(),
            "512 is 512 bytes, which is less than any process has: write for example \"512MiB\", or \"none\""
        );
        assert_eq!(max_memory("512").unwrap_err(), check_max_memory(512, "512").unwrap_err());
        for (bad, advice) in [
            ("0", "less than any process has"),
            ("1023KiB", "1023KiB is 1047552 bytes"),
            ("512M", "\"512MiB\""),
            ("256MB", "\"256MiB\""),
            ("4g", "\"4GiB\""),
            ("512 MiB", "\"512MiB\""),
            ("64kb", "\"64KiB\""),
            ("5PiB", "(units: KiB, MiB, GiB, TiB)"),
            ("1.5GiB", "\"1536MiB\""),
            ("-1", "a number and a unit"),
            ("MiB", "a number and a unit"),
            ("18446744073709551616", "more than any machine has"),
            ("18446744073709551615KiB", "more than any machine has"),
            ("16777216TiB", "more than any machine has"),
        ] {
            let why = max_memory(bad).unwrap_err();
            assert!(why.contains(advice), "{bad:?}: {why}");
        }
    }
}
