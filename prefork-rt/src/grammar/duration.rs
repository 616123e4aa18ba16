//! Times with units, which of them an option takes, and ranges of them.
//!
//! It must not know clocks.

use std::time::Duration;

use super::number::number_and_unit;

const SHORTEST_HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(500 * 60 * 60);

/// The bounds of the delay before a restart: the first wait and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// A whole number and its unit: `"250ms"`, `"30s"`, `"5m"`, `"1h"`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    duration_otherwise(text, "")
}

/// A duration, or `"none"`, which is `None`.
pub(crate) fn optional_duration(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "none" => Ok(None),
        _ => duration_otherwise(text, ", or \"none\"").map(Some),
    }
}

/// For how long a restart counts; `None` is `"none"`.
pub(crate) fn restart_window(text: &str) -> Result<Option<Duration>, String> {
    optional_duration(text).and_then(check_restart_window)
}

/// How long a worker may take to be ready; `None` is `"none"`.
pub(crate) fn ready_timeout(text: &str) -> Result<Option<Duration>, String> {
    optional_duration(text).and_then(check_ready_timeout)
}

/// How long a worker may be silent; `None` is `"none"`.
pub(crate) fn heartbeat_timeout(text: &str) -> Result<Option<Duration>, String> {
    optional_duration(text).and_then(check_heartbeat_timeout)
}

/// How long a worker may live; `None` is `"none"`.
pub(crate) fn max_lifetime(text: &str) -> Result<Option<Duration>, String> {
    optional_duration(text).and_then(check_max_lifetime)
}

pub(crate) fn check_restart_window(window: Option<Duration>) -> Result<Option<Duration>, String> {
    not_zero(window, "0s would forget every restart at once: write for example \"10m\", or \"none\" to count them all")
}

pub(crate) fn check_ready_timeout(timeout: Option<Duration>) -> Result<Option<Duration>, String> {
    not_zero(timeout, "0s gives no worker the time to get ready: write for example \"30s\", or \"none\"")
}

pub(crate) fn check_heartbeat_timeout(timeout: Option<Duration>) -> Result<Option<Duration>, String> {
    match timeout {
        Some(timeout) if timeout < SHORTEST_HEARTBEAT_TIMEOUT => Err(format!(
            "{} is too short, because the clock of a heartbeat is coarse: write \"100ms\" or more, or \"none\"",
            written(timeout)
        )),
        Some(timeout) if timeout > LONGEST_HEARTBEAT_TIMEOUT => Err(format!(
            "{} is too long, because the time of a heartbeat is 32 bits of milliseconds: write \"500h\" or less, or \
             \"none\"",
            written(timeout)
        )),
        _ => Ok(timeout),
    }
}

pub(crate) fn check_max_lifetime(lifetime: Option<Duration>) -> Result<Option<Duration>, String> {
    not_zero(lifetime, "0s lets no worker live: write for example \"1h\", or \"none\"")
}

fn not_zero(time: Option<Duration>, why_not: &str) -> Result<Option<Duration>, String> {
    if time.is_some_and(|time| time.is_zero()) { Err(why_not.to_owned()) } else { Ok(time) }
}

/// As a person would write it.
fn written(time: Duration) -> String {
    match time.as_secs() {
        _ if time.is_zero() => "0s".to_owned(),
        seconds if time.subsec_nanos() == 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        _ => format!("{time:?}"),
    }
}

fn duration_otherwise(text: &str, otherwise: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    if number.is_empty() {
        return Err(format!(
            "{text:?} is not a duration: write a number and a unit, for example \"250ms\", \"30s\", \"5m\" or \
             \"1h\"{otherwise}"
        ));
    }
    let too_long = || format!("{text:?} is too long a duration");
    let number: u64 = number.parse().map_err(|_| too_long())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "" => return Err(format!("{text:?} has no unit: write \"{text}s\" for seconds (units: ms, s, m, h)")),
        _ if unit.starts_with('.') => {
            return Err(format!("{text:?} is not a whole number: use a smaller unit, for example \"1500ms\""));
        }
        _ => {
            return Err(format!("{text:?} has an unknown unit {unit:?}: use ms, s, m or h, for example \"{number}s\""));
        }
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(too_long)
}

/// Two durations, `"100ms..1s"`, or one for a delay that does not grow; `"0s"` never waits.
pub(crate) fn backoff(text: &str) -> Result<Backoff, String> {
    let Some((first, longest)) = text.split_once("..") else {
        let delay = duration(text)?;
        return Ok(Backoff { first: delay, longest: delay });
    };
    let longest = longest.strip_prefix('=').unwrap_or(longest);
    check_backoff(duration(first)?, duration(longest)?)
}

/// Checks that a backoff grows, or stays as it is.
pub(crate) fn check_backoff(first: Duration, longest: Duration) -> Result<Backoff, String> {
    if first > longest {
        return Err(format!(
            "the first delay, {first:?}, is longer than the longest, {longest:?}: write the shorter one first, for example \"100ms..1s\""
        ));
    }
    if first.is_zero() && !longest.is_zero() {
        return Err(format!(
            "a delay that begins with 0s would never grow to {longest:?}: write \"0s\" to never wait, or begin with a \
             short delay, for example \"10ms..1s\""
        ));
    }
    Ok(Backoff { first, longest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(duration("30").unwrap_err().contains("\"30s\""));
        assert!(duration("30d").unwrap_err().contains("unknown unit \"d\""));
        assert!(duration("1.5s").unwrap_err().contains("1500ms"));
        for bad in ["", "s", "-1s", " 1s", "1 s", "1s ", "٣s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_duration_has_a_word_for_it() {
        assert_eq!(optional_duration("none"), Ok(None));
        assert_eq!(optional_duration("30s"), Ok(Some(Duration::from_secs(30))));
        for bad in ["", "off", "None"] {
            assert!(optional_duration(bad).unwrap_err().ends_with(", or \"none\""), "{bad:?}");
        }
        assert!(optional_duration("30").unwrap_err().contains("\"30s\""));
        assert!(!duration("off").unwrap_err().contains("none"));
    }

    #[test]
    fn durations_that_would_do_harm_are_refused() {
        let (zero, short) = (Some(Duration::ZERO), Some(Duration::from_nanos(1)));
        for check in [check_restart_window, check_ready_timeout, check_max_lifetime] {
            assert_eq!(check(None), Ok(None));
            assert_eq!(check(short), Ok(short));
            assert_eq!(check(Some(Duration::MAX)), Ok(Some(Duration::MAX)));
            assert!(check(zero).unwrap_err().starts_with("0s "));
        }
        assert_eq!(check_heartbeat_timeout(None), Ok(None));
        for good in ["100ms", "1s", "500h"] {
            assert!(heartbeat_timeout(good).is_ok(), "{good}");
        }
        for (bad, accepted) in [("0s", "\"100ms\""), ("99ms", "\"100ms\""), ("501h", "\"500h\"")] {
            let why = heartbeat_timeout(bad).unwrap_err();
            assert!(why.starts_with(bad) && why.contains(accepted), "{bad}: {why}");
        }
        assert!(check_heartbeat_timeout(Some(Duration::MAX)).is_err());
    }

    #[test]
    fn a_backoff_grows_or_stays() {
        let of = |first, longest| {
            Ok(Backoff { first: Duration::from_millis(first), longest: Duration::from_millis(longest) })
        };
        assert_eq!(backoff("100ms..1s"), of(100, 1000));
        assert_eq!(backoff("100ms..=1s"), of(100, 1000));
        assert_eq!(backoff("250ms"), of(250, 250));
        assert_eq!(backoff("0s"), of(0, 0));
        assert!(backoff("1s..100ms").unwrap_err().contains("shorter one first"));
        assert!(backoff("0s..1s").unwrap_err().contains("never grow"));
        for bad in ["", "..", "1s..", "..1s", "1..2", "1s..2s..3s"] {
            assert!(backoff(bad).is_err(), "{bad:?}");
        }
    }
}
