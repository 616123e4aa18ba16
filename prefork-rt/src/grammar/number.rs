//! Whole numbers, alone and before a unit.
//!
//! It must not know units.

/// Linux has no greater process id on any machine.
const MOST_WORKERS: usize = 1 << 22;

/// `"auto"` or a number; 0 is `"auto"`.
pub(crate) fn workers(text: &str) -> Result<usize, String> {
    match text {
        "auto" => Ok(0),
        _ => check_workers(count(text, "or \"auto\"")?),
    }
}

pub(crate) fn check_workers(workers: usize) -> Result<usize, String> {
    match workers {
        0..=MOST_WORKERS => Ok(workers),
        _ => Err(format!("{workers} is too large: Linux has no more than {MOST_WORKERS} processes")),
    }
}

/// `"unlimited"` or a number; `None` is `"unlimited"`.
pub(crate) fn max_restarts(text: &str) -> Result<Option<usize>, String> {
    match text {
        "unlimited" => Ok(None),
        _ => count(text, "or \"unlimited\"").map(Some),
    }
}

fn count(text: &str, otherwise: &str) -> Result<usize, String> {
    text.parse().map_err(|_| match text.strip_prefix('-').unwrap_or(text) {
        digits if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{text:?} is not a whole number {otherwise}")
        }
        _ if text.starts_with('-') => format!("{text} is negative: write a whole number, 0 or more, {otherwise}"),
        _ => format!("{text} is too large"),
    })
}

pub(super) fn number_and_unit(text: &str) -> (&str, &str) {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    text.split_at(digits)
}

/// Permission bits in octal, `"027"` or `"0o27"`; `None` is `"none"`.
pub(crate) fn umask(text: &str) -> Result<Option<u32>, String> {
    match text {
        "none" => Ok(None),
        _ => octal(text.strip_prefix("0o").unwrap_or(text)).map(Some).ok_or_else(|| {
            format!("{text:?} is not an octal number up to 777: write for example \"027\", or \"none\"")
        }),
    }
}

/// Permission bits, as chmod(1) and umask(1) take them.
pub(super) fn octal(text: &str) -> Option<u32> {
    is_number(text).then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|&bits| bits <= 0o777)
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_umask_is_octal() {
        for (text, mask) in [("027", 0o27), ("27", 0o27), ("0022", 0o22), ("0o77", 0o77), ("0", 0), ("777", 0o777)] {
            assert_eq!(umask(text), Ok(Some(mask)), "{text}");
        }
        assert_eq!(umask("none"), Ok(None));
        for bad in ["", "0o", "8", "1000", "-1", "+27", "0x17", "0b1", "u=rwx", "u=rwx,g=rx,o=", "027 ", "None"] {
            let why = umask(bad).unwrap_err();
            assert!(why.contains(&format!("{bad:?}")) && why.contains("\"027\""), "{why}");
        }
    }

    #[test]
    fn counts_have_a_word_for_their_special_value() {
        assert_eq!(workers("4"), Ok(4));
        assert_eq!(workers("0"), Ok(0));
        assert_eq!(workers("auto"), Ok(0));
        assert_eq!(max_restarts("0"), Ok(Some(0)));
        assert_eq!(max_restarts("unlimited"), Ok(None));
        assert!(workers("four").unwrap_err().contains("or \"auto\""));
        assert!(workers("5000000").unwrap_err().contains("too large"));
        assert!(workers("-1").unwrap_err().contains("negative"));
        assert!(max_restarts("99999999999999999999").unwrap_err().contains("too large"));
    }
}
