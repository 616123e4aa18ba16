//! How a line gets out: through `log`, or, while no logger is installed, to standard error with one write(2), which never
//! waits for a slow reader. Where journald reads, the line carries its severity.
//!
//! It must not know what a line says.

use std::fmt::Display;
use std::io::Write;
use std::panic::catch_unwind;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::{Level, LevelFilter};

use crate::sys::{self, Severity, Stderr};
use crate::zeroed_option::ZeroedOption;

pub(crate) const TARGET: &str = "prefork_rt";
/// How long the last line waits for a slow reader of standard error. Nothing else is left to do then.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// PIPE_BUF on Linux: a pipe takes this many bytes in one piece.
const LONGEST_LINE: usize = 4096;

static OUTPUT: Mutex<Output> = Mutex::new(Output { stderr: ZeroedOption::None, lost: 0 });

/// Standard error, which is opened for the first line, and how many lines it did not take.
struct Output {
    stderr: ZeroedOption<Stderr>,
    lost: usize,
}

pub(crate) fn info(line: &str) {
    say(Level::Info, line);
}

pub(crate) fn warn(line: &str) {
    say(Level::Warn, line);
}

pub(crate) fn error(line: &str) {
    say(Level::Error, line);
}

/// Says why the exit status is not 0: on standard error too, in case the log is lost.
pub(crate) fn last_line(error: &impl Display) {
    let line = error.to_string();
    sys::wait_for_stderr(LAST_PATIENCE);
    say(Level::Error, &line);
    if logger_is_installed() {
        write(Level::Error, &line);
    }
    flush();
}

/// Flushes the user's logger: before a fork, so that no worker inherits buffered lines, and at the end.
pub(crate) fn flush() {
    // A logger that panics must not end the supervisor, here or in `say`.
    let _ = catch_unwind(|| log::logger().flush());
}

/// Closes, in a worker, the descriptor that the supervisor's lines go to.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn close() {
    OUTPUT.lock().unwrap_or_else(PoisonError::into_inner).stderr = ZeroedOption::None;
}

pub(crate) fn say(level: Level, line: &str) {
    if logger_is_installed() {
        // A logger that prints to a closed pipe panics.
        if catch_unwind(|| log::log!(target: TARGET, level, "{line}")).is_err() {
            write(level, line);
        }
    } else {
        write(level, line);
    }
}

pub(crate) fn logger_is_installed() -> bool {
    log::max_level() != LevelFilter::Off
}

fn write(level: Level, line: &str) {
    let mut output = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner);
    let Output { stderr, lost } = &mut *output;
    let stderr = stderr.get_or_insert_with(Stderr::open);
    if *lost > 0 {
        let note = format!("lines missing here, as standard error took no more: {lost}");
        if stderr.write(&rendered(Severity::Warning, &note)).is_err() {
            *lost += 1;
            return;
        }
        *lost = 0;
    }
    if stderr.write(&rendered(severity(level), line)).is_err() {
        *lost += 1;
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

fn rendered(severity: Severity, line: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(line.len() + 16);
    // Writing to a Vec does not fail.
    let _ = write!(bytes, "{}prefork: {}", severity.prefix(), line.replace('\n', " "));
    bytes.truncate(LONGEST_LINE - 1);
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_fits_a_pipe() {
        assert_eq!(rendered(Severity::Info, "a\nb"), b"prefork: a b\n");
        assert_eq!(rendered(Severity::Info, &"x".repeat(10_000)).len(), LONGEST_LINE);
    }
}
