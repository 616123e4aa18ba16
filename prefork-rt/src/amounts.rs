//! Counts, times and sizes in words, as log lines and errors have them. It must not know what is counted.

use std::fmt::Display;
use std::time::Duration;

use crate::wording::words;

/// "4 workers", "1 worker".
pub(crate) fn workers(count: usize) -> impl Display {
    words(move |f| write!(f, "{count} worker{}", if count == 1 { "" } else { "s" }))
}

/// "4 workers were", "1 worker was", "no worker was".
pub(crate) fn workers_were(count: usize) -> impl Display {
    words(move |f| match count {
        0 => f.write_str("no worker was"),
        1 => f.write_str("1 worker was"),
        _ => write!(f, "{count} workers were"),
    })
}

/// "all 4 workers are", "the worker is".
pub(crate) fn all(workers: usize, verb_of_many: &'static str, verb_of_one: &'static str) -> impl Display {
    words(move |f| match workers {
        1 => write!(f, "the worker {verb_of_one}"),
        _ => write!(f, "all {workers} workers {verb_of_many}"),
    })
}

/// "3 at a time", "one at a time": how many of `workers` are replaced at once.
pub(crate) fn at_a_time(width: usize, workers: usize) -> impl Display {
    words(move |f| match width.min(workers) {
        0 | 1 => f.write_str("one at a time"),
        width => write!(f, "{width} at a time"),
    })
}

/// " within 10m00s (restart_window)".
pub(crate) fn within(window: Option<Duration>) -> impl Display {
    words(move |f| window.map_or(Ok(()), |window| write!(f, " within {} (restart_window)", time(window))))
}

/// `600 MiB`, `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> impl Display {
    words(move |f| match bytes >> 20 {
        0..1024 => write!(f, "{} MiB", (bytes + (1 << 19)) >> 20),
        mebibytes => write!(f, "{} GiB", with_a_tenth((mebibytes * 10 + 512) >> 10)),
    })
}

/// Without floating point, whose formatting would be 15 kB of a small program.
fn with_a_tenth(tenths: u64) -> impl Display {
    words(move |f| write!(f, "{}.{}", tenths / 10, tenths % 10))
}

pub(crate) fn in_a_while(delay: Duration) -> impl Display {
    words(move |f| if delay.is_zero() { Ok(()) } else { write!(f, " in {}", time(delay)) })
}

/// A time to wait, as people write it: `350ms`, `25s`, or as [`age`] has it.
pub(crate) fn time(duration: Duration) -> impl Display {
    words(move |f| match (duration.as_secs(), duration.subsec_millis()) {
        (0, milliseconds) => write!(f, "{milliseconds}ms"),
        (seconds @ 0..60, 0) => write!(f, "{seconds}s"),
        _ => age(duration).fmt(f),
    })
}

/// How long a worker lived: `41.2s`, `12m03s`, `7h05m`, `3d01h`.
pub(crate) fn age(duration: Duration) -> impl Display {
    words(move |f| match duration.as_secs() {
        seconds @ 0..60 => {
            write!(f, "{}s", with_a_tenth((seconds * 1000 + u64::from(duration.subsec_millis()) + 49) / 100))
        }
        seconds @ 60..3600 => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
        seconds @ 3600..86400 => write!(f, "{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        seconds => write!(f, "{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_workers_than_there_are_have_their_turns_at_once() {
        for (width, workers, text) in [(1, 9, "one"), (2, 9, "2"), (9, 1, "one"), (9, 3, "3"), (2, 0, "one")] {
            assert_eq!(at_a_time(width, workers).to_string(), format!("{text} at a time"));
        }
    }

    #[test]
    fn sizes_are_rounded() {
        let mebibyte = 1 << 20;
        for (bytes, text) in [
            (0, "0 MiB"),
            (600 * mebibyte, "600 MiB"),
            (600 * mebibyte + 800_000, "601 MiB"),
            (1024 * mebibyte, "1.0 GiB"),
            (1536 * mebibyte, "1.5 GiB"),
            (2047 * mebibyte, "2.0 GiB"),
            (u64::MAX, "17179869184.0 GiB"),
        ] {
            assert_eq!(size(bytes).to_string(), text);
        }
    }

    #[test]
    fn times_read_as_people_say_them() {
        let cases =
            [(340, "0.3s"), (41_200, "41.2s"), (723_000, "12m03s"), (25_500_000, "7h05m"), (262_800_000, "3d01h")];
        for (milliseconds, text) in cases {
            assert_eq!(age(Duration::from_millis(milliseconds)).to_string(), text);
        }
        for (milliseconds, text) in [(0, "0ms"), (350, "350ms"), (25_000, "25s"), (1_250, "1.2s"), (300_000, "5m00s")] {
            assert_eq!(time(Duration::from_millis(milliseconds)).to_string(), text);
        }
    }
}
