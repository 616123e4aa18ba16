//! How option values are written, and which known name a misspelt one is nearest to.
//!
//! One file serves the macro's literals, the builder and the environment (prefork-macros sees it through a
//! symbolic link), so a value is read, and refused, in the same words everywhere. It must not know which option
//! or variable a value belongs to: each error is the end of a sentence that the caller begins with that name.

use std::net::SocketAddr;
use std::time::Duration;

/// Linux has no greater process id on any machine.
const MOST_WORKERS: usize = 1 << 22;

const SHORTEST_HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(500 * 60 * 60);

/// No process has less.
const LEAST_MEMORY: u64 = 1 << 20;

/// The bounds of the delay before a restart: the first wait and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// Which workers are replaced when they end by themselves: what `Prefork::restart` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Those that end abnormally; one that exits with status 0 has finished. In strings: `"on-failure"`.
    #[default]
    OnFailure,
    /// Those that exit with status 0 too, which is not counted as a restart. In strings: `"always"`.
    Always,
}

/// In which order a reload starts the new worker and stops the old one: what `Prefork::reload` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reload {
    /// The new one is ready before the old one is told to stop. In strings: `"overlap"`.
    #[default]
    Overlap,
    /// The old one has ended before the new one is started, so that no two live workers have one task id. In strings:
    /// `"exclusive"`.
    Exclusive,
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

/// `"on-failure"` or `"always"`.
pub(crate) fn restart(text: &str) -> Result<Restart, String> {
    match text {
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        _ => Err(format!(
            "{text:?} is not accepted: write \"on-failure\" to replace workers that end abnormally, or \"always\" to \
             replace those that finish with status 0 too"
        )),
    }
}

/// `"overlap"` or `"exclusive"`.
pub(crate) fn reload(text: &str) -> Result<Reload, String> {
    match text {
        "overlap" => Ok(Reload::Overlap),
        "exclusive" => Ok(Reload::Exclusive),
        _ => Err(format!(
            "{text:?} is not accepted: write \"overlap\" to start the new worker first, or \"exclusive\" to stop the \
             old one first"
        )),
    }
}

/// A whole number and its unit: `"250ms"`, `"30s"`, `"5m"`, `"1h"`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    duration_otherwise(text, "")
}

/// The same, or `"none"`, which is `None`.
pub(crate) fn optional_duration(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "none" => Ok(None),
        _ => duration_otherwise(text, ", or \"none\"").map(Some),
    }
}

/// How long a restart counts.
pub(crate) fn restart_window(window: Option<Duration>) -> Result<Option<Duration>, String> {
    not_zero(window, "0s would forget every restart at once: write for example \"10m\", or \"none\" to count them all")
}

/// How long a worker may take to be ready.
pub(crate) fn ready_timeout(timeout: Option<Duration>) -> Result<Option<Duration>, String> {
    not_zero(timeout, "0s gives no worker the time to get ready: write for example \"30s\", or \"none\"")
}

/// How long a worker may be silent.
pub(crate) fn heartbeat_timeout(timeout: Option<Duration>) -> Result<Option<Duration>, String> {
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

/// How long a worker may live.
pub(crate) fn max_lifetime(lifetime: Option<Duration>) -> Result<Option<Duration>, String> {
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

fn number_and_unit(text: &str) -> (&str, &str) {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    text.split_at(digits)
}

/// How much memory a worker may have, in bytes: `"512MiB"`, or a plain number; `None` is `"none"`.
pub(crate) fn max_memory(text: &str) -> Result<Option<u64>, String> {
    match text {
        "none" => Ok(None),
        _ => max_memory_counted(size(text)?, text).map(Some),
    }
}

/// The same of a number of bytes, which was written like this.
pub(crate) fn max_memory_counted(bytes: u64, text: &str) -> Result<u64, String> {
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

/// The name or number of a user or group; `None` is `"none"`. Whether there is such a one, only the run can tell.
pub(crate) fn account(text: &str) -> Result<Option<String>, String> {
    const WRITE: &str = "write a name such as \"nobody\", a number such as \"65534\", or \"none\"";
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text {
        "none" => Ok(None),
        "" => Err(format!("the name is empty: {WRITE}")),
        _ if text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err(format!("{text:?} has a space in it, or what cannot be printed, and no name has: {WRITE}"))
        }
        _ if text.contains([':', ',', '/']) => Err(format!(
            "{text:?} is more than one name: {WRITE}; a user and a group are two options, `user` and `group`"
        )),
        _ if text.starts_with(['-', '+']) => Err(format!("{text:?} is not a name: {WRITE}")),
        // The greatest number means that there is none.
        _ if is_number && account_number(text).is_none() => {
            Err(format!("{text} is too large: numbers of users and groups end at {}", u32::MAX - 1))
        }
        _ => Ok(Some(text.to_owned())),
    }
}

/// What is written in digits is a number, never a name.
pub(crate) fn account_number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&number| number != u32::MAX)
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
    fn what_is_none_by_default_has_a_word_for_it() {
        assert_eq!(optional_duration("none"), Ok(None));
        assert_eq!(optional_duration("30s"), Ok(Some(Duration::from_secs(30))));
        assert_eq!(max_memory("none"), Ok(None));
        for bad in ["", "off", "None"] {
            assert!(optional_duration(bad).unwrap_err().ends_with(", or \"none\""), "{bad:?}");
            assert!(max_memory(bad).unwrap_err().ends_with(", or \"none\""), "{bad:?}");
        }
        assert!(optional_duration("30").unwrap_err().contains("\"30s\""));
        assert!(!duration("off").unwrap_err().contains("none"));
    }

    #[test]
    fn durations_that_would_do_harm_are_refused() {
        let (zero, short) = (Some(Duration::ZERO), Some(Duration::from_nanos(1)));
        for check in [restart_window, ready_timeout, max_lifetime] {
            assert_eq!(check(None), Ok(None));
            assert_eq!(check(short), Ok(short));
            assert_eq!(check(Some(Duration::MAX)), Ok(Some(Duration::MAX)));
            assert!(check(zero).unwrap_err().starts_with("0s "));
        }
        assert_eq!(heartbeat_timeout(None), Ok(None));
        for good in ["100ms", "1s", "500h"] {
            assert!(optional_duration(good).and_then(heartbeat_timeout).is_ok(), "{good}");
        }
        for (bad, accepted) in [("0s", "\"100ms\""), ("99ms", "\"100ms\""), ("501h", "\"500h\"")] {
            let why = optional_duration(bad).and_then(heartbeat_timeout).unwrap_err();
            assert!(why.starts_with(bad) && why.contains(accepted), "{bad}: {why}");
        }
        assert!(heartbeat_timeout(Some(Duration::MAX)).is_err());
    }

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        assert_eq!(max_memory("1048576"), Ok(Some(1 << 20)));
        assert_eq!(max_memory("1024KiB"), Ok(Some(1 << 20)));
        assert_eq!(max_memory("512MiB"), Ok(Some(512 << 20)));
        assert_eq!(max_memory("2GiB"), Ok(Some(2 << 30)));
        assert_eq!(max_memory("1TiB"), Ok(Some(1 << 40)));
        assert_eq!(max_memory("18446744073709551615"), Ok(Some(u64::MAX)));
        assert_eq!(max_memory_counted(1 << 20, "1048576"), Ok(1 << 20));
        assert_eq!(
            max_memory("512").unwrap_err(),
            "512 is 512 bytes, which is less than any process has: write for example \"512MiB\", or \"none\""
        );
        assert_eq!(max_memory("512").unwrap_err(), max_memory_counted(512, "512").unwrap_err());
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

    #[test]
    fn restart_and_reload_are_one_of_two_words() {
        assert_eq!(restart("on-failure"), Ok(Restart::OnFailure));
        assert_eq!(restart("always"), Ok(Restart::Always));
        assert_eq!(reload("overlap"), Ok(Reload::Overlap));
        assert_eq!(reload("exclusive"), Ok(Reload::Exclusive));
        for bad in ["", "never", "Always", "on_failure", "none"] {
            assert!(restart(bad).unwrap_err().contains("\"always\""), "{bad:?}");
            assert!(reload(bad).unwrap_err().contains("\"overlap\""), "{bad:?}");
        }
    }

    #[test]
    fn an_account_is_one_name_or_number() {
        for good in ["nobody", "www-data", "_www", "65534", "0", "4294967294", "svc.app$", "DOMAIN\\\\user", "müller"]
        {
            assert_eq!(account(good), Ok(Some(good.to_owned())));
        }
        assert_eq!(account("none"), Ok(None));
        for (bad, advice) in [
            ("", "empty"),
            (" ", "space"),
            ("nobody ", "space"),
            ("a\0b", "printed"),
            ("nobody:nogroup", "two options"),
            ("a,b", "two options"),
            ("-1", "not a name"),
            ("+1", "not a name"),
            ("4294967295", "end at 4294967294"),
            ("99999999999999999999", "too large"),
        ] {
            let why = account(bad).unwrap_err();
            assert!(why.contains(advice), "{bad:?}: {why}");
        }
        assert_eq!(account_number("007"), Some(7));
        assert_eq!(account_number("7up"), None);
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
