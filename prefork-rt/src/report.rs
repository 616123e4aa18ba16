//! How a notice of the policy reads as a log line, and how a line gets out.
//!
//! Lines go through `log`; while no logger is installed, to standard error, one write each, never waiting for whoever
//! reads it.

use std::ffi::c_int;
use std::io::Write;
use std::panic::catch_unwind;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::{Level, LevelFilter};

use crate::error::Error;
use crate::policy::{Budget, KillReason, Notice, ProcId, Status};
use crate::sys::{self, Pid, Stderr};

const TARGET: &str = "prefork_rt";
/// A pipe takes so many bytes in one piece.
const LONGEST_LINE: usize = 4096;

static OUTPUT: Mutex<Output> = Mutex::new(Output { stderr: None, lost: 0 });

/// Standard error, opened for the first line, and how many lines it did not take.
struct Output {
    stderr: Option<Stderr>,
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

/// Why the exit status is not 0: on standard error too, whatever becomes of the log.
pub(crate) fn last_line(error: &Error) {
    let line = error.to_string();
    say(Level::Error, &line);
    if logger_is_installed() {
        write(&line);
    }
    flush();
}

/// Hands on what the user's logger holds back: before a fork, so that no worker inherits it, and at the end.
pub(crate) fn flush() {
    // A logger that panics must not take the workers along, here or below.
    let _ = catch_unwind(|| log::logger().flush());
}

/// Closes what was opened for the supervisor's lines. In a worker.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn close() {
    OUTPUT.lock().unwrap_or_else(PoisonError::into_inner).stderr = None;
}

fn say(level: Level, line: &str) {
    if logger_is_installed() {
        // One that prints to a closed pipe does.
        if catch_unwind(|| log::log!(target: TARGET, level, "{line}")).is_err() {
            write(line);
        }
    } else {
        write(line);
    }
}

pub(crate) fn logger_is_installed() -> bool {
    log::max_level() != LevelFilter::Off
}

fn write(line: &str) {
    let mut output = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner);
    let Output { stderr, lost } = &mut *output;
    let stderr = stderr.get_or_insert_with(Stderr::open);
    if *lost > 0 {
        let note = format!("prefork: lines missing here, as standard error took no more: {lost}\n");
        if stderr.write(note.as_bytes()).is_err() {
            *lost += 1;
            return;
        }
        *lost = 0;
    }
    if stderr.write(&rendered(line)).is_err() {
        *lost += 1;
    }
}

fn rendered(line: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(line.len() + 16);
    // Writing to a Vec does not fail.
    let _ = write!(bytes, "prefork: {}", line.replace('\n', " "));
    bytes.truncate(LONGEST_LINE - 1);
    bytes.push(b'\n');
    bytes
}

/// Says what happened. `pid` knows the process of a worker that was alive when it did.
pub(crate) fn notice(notice: &Notice, pid: impl Fn(ProcId) -> Option<Pid>) {
    let name = |&worker: &ProcId| match pid(worker) {
        Some(pid) => format!("worker {} (pid {pid})", worker.task_id()),
        None => format!("worker {}", worker.task_id()),
    };
    match notice {
        // One line for each of a thousand first starts is for those who ask for it.
        Notice::Started { worker, restarts: 0 } => log::debug!(target: TARGET, "{} started", name(worker)),
        Notice::Started { worker, restarts } => info(&format!("{} started, restart {restarts} of it", name(worker))),
        Notice::Finished { worker, up, left } => {
            info(&format!("{} finished with status 0 after {}, {left} left", name(worker), age(*up)));
        }
        Notice::Restarting { worker, status, up, delay, budget } => warn(&format!(
            "{} {} after {}, restarting{} ({})",
            name(worker),
            how(*status),
            age(*up),
            in_a_while(*delay),
            used(*budget)
        )),
        Notice::GivingUp { worker, status, up, max_restarts } => error(&format!(
            "{} {} after {}, giving up: {max_restarts} of {max_restarts} restarts are used",
            name(worker),
            how(*status),
            age(*up)
        )),
        Notice::ForkFailed { task_id, error, delay, budget } => warn(&format!(
            "worker {task_id} cannot be forked: {error}; trying again{} ({}); check the limits on processes and memory",
            in_a_while(*delay),
            used(*budget)
        )),
        Notice::ForkFailedTooOften { task_id, error, max_restarts } => self::error(&format!(
            "worker {task_id} cannot be forked: {error}; giving up: {max_restarts} of {max_restarts} restarts are used"
        )),
        Notice::Stopping { by, alive, graceful_timeout } => info(&format!(
            "{}stopping {}, at most {}",
            by.as_ref().map_or_else(String::new, |by| format!("{by}: ")),
            workers(*alive),
            time(*graceful_timeout)
        )),
        Notice::AlreadyStopping { by } => info(&format!("{by}: already stopping; once more kills at once")),
        Notice::Stopped { worker, status, up } => {
            info(&format!("{} {} after {}, stopped", name(worker), how(*status), age(*up)));
        }
        Notice::Killing { alive, why: KillReason::GracefulTimeout(timeout) } => {
            warn(&format!("killing {} that did not end within {} (graceful_timeout)", workers(*alive), time(*timeout)))
        }
        Notice::Killing { alive, why: KillReason::Asked(by) } => warn(&format!("{by}: killing {}", workers(*alive))),
    }
}

/// How a process ended, as the end of a sentence that begins with it.
fn how(status: Status) -> String {
    match status {
        Status::Exited(code) => format!("exited with status {code}"),
        Status::Killed { signal, dumped_core } => {
            format!("killed by {}{}", sys::signal_name(signal), if dumped_core { " (core dumped)" } else { "" })
        }
    }
}

/// What a terminal's stop of a worker means.
pub(crate) fn stopped_by_terminal(task_id: usize, pid: Pid, signal: c_int) {
    let name = sys::signal_name(signal);
    let what = if signal == sys::Signal::SIGTTIN as c_int { "reads from" } else { "writes to or configures" };
    warn(&format!(
        "worker {task_id} (pid {pid}) was stopped by {name}: it {what} the terminal, which belongs to the supervisor; \
         let the worker use a pipe or a file instead; `kill -KILL {pid}` replaces it"
    ));
}

/// "4 workers", "1 worker".
pub(crate) fn workers(count: usize) -> String {
    format!("{count} worker{}", if count == 1 { "" } else { "s" })
}

fn used(budget: Budget) -> String {
    match budget.max_restarts {
        Some(max_restarts) => format!("{}/{max_restarts}", budget.used),
        None => format!("{}/unlimited", budget.used),
    }
}

fn in_a_while(delay: Duration) -> String {
    if delay.is_zero() { String::new() } else { format!(" in {}", time(delay)) }
}

/// How long to wait, as one writes it: `350ms`, `25s`, or as [`age`].
fn time(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (0, milliseconds) => format!("{milliseconds}ms"),
        (seconds @ 0..60, 0) => format!("{seconds}s"),
        _ => age(duration),
    }
}

/// How long a worker lived, as one reads it: `41.2s`, `12m03s`, `7h05m`, `3d01h`.
fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_one_says_them() {
        let cases =
            [(340, "0.3s"), (41_200, "41.2s"), (723_000, "12m03s"), (25_500_000, "7h05m"), (262_800_000, "3d01h")];
        for (milliseconds, text) in cases {
            assert_eq!(age(Duration::from_millis(milliseconds)), text);
        }
        for (milliseconds, text) in [(0, "0ms"), (350, "350ms"), (25_000, "25s"), (1_250, "1.2s"), (300_000, "5m00s")] {
            assert_eq!(time(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn every_end_is_named() {
        assert_eq!(how(Status::Exited(3)), "exited with status 3");
        assert_eq!(how(Status::Killed { signal: libc::SIGSEGV, dumped_core: false }), "killed by SIGSEGV");
        assert_eq!(
            how(Status::Killed { signal: libc::SIGRTMIN() + 3, dumped_core: true }),
            "killed by SIGRTMIN+3 (core dumped)"
        );
    }

    #[test]
    fn a_line_is_one_line_and_fits_a_pipe() {
        assert_eq!(rendered("a\nb"), b"prefork: a b\n");
        assert_eq!(rendered(&"x".repeat(10_000)).len(), LONGEST_LINE);
    }
}
