//! How a line gets out: through `log`, or, while no logger is installed, to standard error with one write(2), which never
//! waits for a slow reader. Where journald reads, the line carries its severity.
//!
//! It must not know what a line says.

use std::fmt::{self, Display, Write};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use log::{Level, LevelFilter};

use crate::sys::{self, Severity, Stderr};

pub(crate) const TARGET: &str = "prefork_rt";
/// How long the last line waits for a slow reader of standard error. Nothing else is left to do then.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// PIPE_BUF on Linux: a pipe takes this many bytes in one piece.
const LONGEST_LINE: usize = 4096;
/// Longer than the lines about a worker's life.
const SHORT_LINE: usize = 400;

static STDERR: Stderr = Stderr::unopened();
/// How many lines standard error did not take since the last one that it took.
static LOST: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn info(line: &str) {
    say(Level::Info, format_args!("{line}"));
}

pub(crate) fn warn(line: &str) {
    say(Level::Warn, format_args!("{line}"));
}

pub(crate) fn error(line: &str) {
    say(Level::Error, format_args!("{line}"));
}

/// Says why the exit status is not 0: on standard error too, in case the log is lost.
pub(crate) fn last_line(error: &impl Display) {
    sys::wait_for_stderr(LAST_PATIENCE);
    say(Level::Error, format_args!("{error}"));
    if logger_is_installed() {
        write(Level::Error, format_args!("{error}"));
    }
    flush();
}

/// Flushes the user's logger: before a fork, so that no worker inherits buffered lines, and at the end.
pub(crate) fn flush() {
    // A logger that panics must not end the supervisor, here or in `say`.
    let _ = catch_unwind(|| log::logger().flush());
}

/// Takes, in a worker, the descriptor that the supervisor's lines go to. The worker opens its own for a line.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn take_descriptor() -> Option<OwnedFd> {
    STDERR.take_descriptor()
}

pub(crate) fn say(level: Level, line: fmt::Arguments<'_>) {
    if logger_is_installed() {
        // A logger that prints to a closed pipe panics.
        if catch_unwind(AssertUnwindSafe(|| log::log!(target: TARGET, level, "{line}"))).is_err() {
            write(level, line);
        }
    } else {
        write(level, line);
    }
}

pub(crate) fn logger_is_installed() -> bool {
    log::max_level() != LevelFilter::Off
}

fn write(level: Level, line: fmt::Arguments<'_>) {
    let (stderr, mut room) = (STDERR.opened(), Line::empty());
    if LOST.load(Ordering::Relaxed) > 0 {
        let lost = LOST.swap(0, Ordering::Relaxed);
        let note = format_args!("lines missing here, as standard error took no more: {lost}");
        if stderr.write(room.fill(Severity::Warning, note)).is_err() {
            LOST.fetch_add(lost + 1, Ordering::Relaxed);
            return;
        }
    }
    if stderr.write(room.fill(severity(level), line)).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::Error,
        Level::Warn => Severity::Warning,
        Level::Info => Severity::Info,
        Level::Debug | Level::Trace => Severity::Debug,
    }
}

/// The bytes of a line, with its end. Most are short, and lie on the stack: where the supervisor allocates between two forks,
/// it copies pages that it shares with its workers.
struct Line {
    short: [u8; SHORT_LINE],
    length: usize,
    /// All of a line that is not short, else nothing.
    long: Vec<u8>,
}

impl Line {
    fn empty() -> Line {
        Line { short: [0; SHORT_LINE], length: 0, long: Vec::new() }
    }

    /// Makes it the line with this text, in place: a line that is moved takes twice the room on the stack.
    fn fill(&mut self, severity: Severity, text: fmt::Arguments<'_>) -> &[u8] {
        self.length = 0;
        self.long.clear();
        // It fails where the text cannot say itself. What was written before is the line.
        let _ = write!(self, "{}prefork: {text}", severity.prefix());
        self.end();
        self.bytes()
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if self.long.is_empty() && end <= SHORT_LINE {
            self.short[self.length..end].copy_from_slice(bytes);
        } else {
            if self.long.is_empty() {
                self.long.extend_from_slice(&self.short[..self.length]);
            }
            self.long.extend_from_slice(bytes);
        }
        self.length = end;
    }

    /// Makes it one line that a pipe takes in one piece.
    fn end(&mut self) {
        self.length = self.length.min(LONGEST_LINE - 1);
        self.long.truncate(LONGEST_LINE - 1);
        self.bytes_mut().iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        self.push(b"\n");
    }

    fn bytes(&self) -> &[u8] {
        if self.long.is_empty() { &self.short[..self.length] } else { &self.long }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        if self.long.is_empty() { &mut self.short[..self.length] } else { &mut self.long }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_fits_a_pipe() {
        let mut line = Line::empty();
        let mut rendered = |text: &str| line.fill(Severity::Info, format_args!("{text}")).to_vec();
        assert_eq!(rendered("a\nb"), b"prefork: a b\n");
        for length in [SHORT_LINE - 11, SHORT_LINE - 10, SHORT_LINE - 9, SHORT_LINE - 8, 3000, 10_000] {
            let expected = format!("prefork: {}", "x".repeat(length.min(LONGEST_LINE - 10))) + "\n";
            assert_eq!(rendered(&"x".repeat(length)), expected.as_bytes(), "{length}");
        }
    }
}
