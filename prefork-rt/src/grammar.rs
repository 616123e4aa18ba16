//! How option values are written, and which known name a misspelt one is nearest to.
//!
//! One file serves the macro's literals, the builder and the environment (prefork-macros sees it through a
//! symbolic link), so a value is read, and refused, in the same words everywhere. It must not know which option
//! or variable a value belongs to: each error is the end of a sentence that the caller begins with that name.

use std::net::SocketAddr;
use std::time::Duration;

/// Linux has no greater process id on any machine.
const MOST_WORKERS: usize = 1 << 22;

/// The bounds of the delay before a restart: the first wait and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// `"auto"` or a number; `None` is `"auto"`, which 0 means too.
pub(crate) fn workers(text: &str) -> Result<Option<usize>, String> {
    match text {
        "auto" => Ok(None),
        _ => workers_counted(count(text, "or \"auto\"")?),
    }
}

/// The same of a number.
pub(crate) fn workers_counted(workers: usize) -> Result<Option<usize>, String> {
    match workers {
        0 => Ok(None),
        1..=MOST_WORKERS => Ok(Some(workers)),
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

/// A whole number and its unit: `"250ms"`, `"30s"`, `"5m"`, `"1h"`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!(
            "{text:?} is not a duration: write a number and a unit, for example \"250ms\", \"30s\", \"5m\" or \"1h\""
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
    backoff_between(duration(first)?, duration(longest)?)
}

/// The same of values that are durations already.
pub(crate) fn backoff_between(first: Duration, longest: Duration) -> Result<Backoff, String> {
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

/// TCP addresses, comma-separated: `"127.0.0.1:8080"`, `"[::]:80,0.0.0.0:80"`; `"none"` for no address.
pub(crate) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    match text {
        "none" => Ok(Vec::new()),
        _ => text.split(',').map(|one| address(one.trim())).collect(),
    }
}

/// One IP address and port.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| why_not_an_address(text))
}

fn why_not_an_address(text: &str) -> String {
    const EXAMPLE: &str = "write an IP address and a port, for example \"127.0.0.1:8080\" or \"[::]:80\"";
    let port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if text.is_empty() {
        return format!("the address is empty: {EXAMPLE}");
    }
    if text.starts_with("unix:") || text.starts_with("udp:") || text.contains('=') {
        return format!("{text:?} is not supported by this version, which listens on unnamed TCP addresses: {EXAMPLE}");
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        let bracketed = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
        return format!("{text:?} has no port: write for example \"{bracketed}:8080\"");
    }
    let Some((host, number)) = text.rsplit_once(':') else {
        return match port(text) {
            true => format!(
                "{text:?} has no IP address: write \"127.0.0.1:{text}\", or \"0.0.0.0:{text}\" for every interface"
            ),
            false => format!("{text:?} is not an address: {EXAMPLE}"),
        };
    };
    if !port(number) || number.parse::<u16>().is_err() {
        return format!("{text:?} is not an address: the port {number:?} is not a number from 0 to 65535");
    }
    match host {
        "" | "*" => {
            format!("{text:?} has no IP address: write \"0.0.0.0:{number}\" or \"[::]:{number}\" for every interface")
        }
        "localhost" => format!("{text:?} is a host name: write \"127.0.0.1:{number}\" or \"[::1]:{number}\""),
        _ => format!("{text:?} is not an address: {host:?} is not an IP address; {EXAMPLE}"),
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

/// The known name that `word` was probably meant to be: case, `-` for `_`, or up to a third of its letters off.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|&name| (edits(&word, &name.to_lowercase()), name))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let mut least =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
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

    #[test]
    fn counts_have_a_word_for_their_special_value() {
        assert_eq!(workers("4"), Ok(Some(4)));
        assert_eq!(workers("0"), Ok(None));
        assert_eq!(workers("auto"), Ok(None));
        assert_eq!(max_restarts("0"), Ok(Some(0)));
        assert_eq!(max_restarts("unlimited"), Ok(None));
        assert!(workers("four").unwrap_err().contains("or \"auto\""));
        assert!(workers("5000000").unwrap_err().contains("too large"));
        assert!(workers("-1").unwrap_err().contains("negative"));
        assert!(max_restarts("99999999999999999999").unwrap_err().contains("too large"));
    }

    #[test]
    fn addresses_are_ip_and_port() {
        assert_eq!(addresses("127.0.0.1:80, [::]:0").map(|all| all.len()), Ok(2));
        assert_eq!(addresses("none"), Ok(Vec::new()));
        for (bad, advice) in [
            ("", "empty"),
            ("8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "[::]:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("127.0.0.1", "has no port"),
            ("::1", "[::1]:8080"),
            ("127.0.0.1:99999", "65535"),
            ("127.0.0.1:http", "65535"),
            ("example.org:80", "not an IP address"),
            ("256.0.0.1:80", "not an IP address"),
            ("unix:/run/app.sock", "not supported"),
            ("admin=127.0.0.1:80", "not supported"),
            ("127.0.0.1:80,", "empty"),
        ] {
            let why = addresses(bad).unwrap_err();
            assert!(why.contains(advice), "{bad:?}: {why}");
        }
    }

    #[test]
    fn nearest_finds_slips_and_nothing_else() {
        let known = ["workers", "max_restarts", "graceful_timeout", "listen"];
        for (word, meant) in [
            ("workrs", "workers"),
            ("worker", "workers"),
            ("max-restarts", "max_restarts"),
            ("lisetn", "listen"),
            ("gracefull_timeout", "graceful_timeout"),
        ] {
            assert_eq!(nearest(word, &known), Some(meant));
        }
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
