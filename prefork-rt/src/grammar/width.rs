//! How many slots a reload replaces at once: a number, or a percentage of the slots.
//!
//! It must not know what a turn is.

use super::number::{is_number, number_and_unit};

/// What to write instead of a width that is refused.
const WRITE: &str = "write a number of workers, 1 or more, or a percentage from \"1%\" to \"100%\"";

/// How many slots are replaced at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Slots(usize),
    /// Of the slots that are wanted: from 1 to 100.
    Percent(usize),
}

/// `"2"` or `"25%"`.
pub(crate) fn reload_width(text: &str) -> Result<Width, String> {
    match number_and_unit(text) {
        (digits, "") if is_number(digits) => {
            digits.parse().map_err(|_| format!("{text} is too large")).and_then(check_reload_width)
        }
        (digits, "%") if is_number(digits) => match digits.parse() {
            Ok(percent @ 1..=100) => Ok(Width::Percent(percent)),
            Ok(0) => Err(format!("0% would replace no worker: {WRITE}")),
            Ok(_) | Err(_) => Err(format!("{text} is more than all workers: {WRITE}")),
        },
        _ => Err(format!("{text:?} is not accepted: {WRITE}")),
    }
}

pub(crate) fn check_reload_width(slots: usize) -> Result<Width, String> {
    match slots {
        0 => Err(format!("0 would replace no worker: {WRITE}")),
        _ => Ok(Width::Slots(slots)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_is_a_number_or_a_percentage() {
        for (text, width) in [
            ("1", Width::Slots(1)),
            ("32", Width::Slots(32)),
            ("1%", Width::Percent(1)),
            ("025%", Width::Percent(25)),
            ("100%", Width::Percent(100)),
        ] {
            assert_eq!(reload_width(text), Ok(width), "{text}");
        }
        assert_eq!(check_reload_width(2), reload_width("2"));
    }

    #[test]
    fn a_width_that_replaces_no_worker_or_more_than_all_is_refused_with_what_to_write() {
        for bad in
            ["0", "0%", "101%", "99999999999999999999%", "", "%", "-1", "-5%", "1.5", "25 %", "25%%", "2w", "all"]
        {
            let why = reload_width(bad).unwrap_err();
            assert!(why.contains("\"100%\"") && why.contains(bad), "{why}");
        }
        assert!(reload_width("99999999999999999999").unwrap_err().contains("too large"));
        assert!(check_reload_width(0).unwrap_err().contains("no worker"));
    }
}
