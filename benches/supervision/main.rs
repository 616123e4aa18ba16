//! What supervision costs: prefork against a bare loop of fork and waitpid, in ratios.
//!
//! `cargo bench` takes about a minute and a half, `cargo bench -- --quick` a few seconds and says less. A word selects
//! rows (`cargo bench -- restart`), `--rounds 60` sharpens them. Linux only. By default the workers reseed the
//! generators of three cargo features, as the tests need it; `cargo bench --no-default-features` measures what a user
//! has who asks for none.
//!
//! # What is measured
//!
//! | row | from | to |
//! |---|---|---|
//! | start | just before the first fork | the last worker's first statement |
//! | restart | just before SIGKILL to one worker | its replacement's first statement |
//! | stop | just before SIGTERM to the supervisor | the supervisor is gone, and had reaped every worker |
//!
//! The bare loop is the least that keeps N workers alive: it forks them, waits, replaces a worker that died, passes
//! SIGTERM on and reaps. It checks nothing, blocks no signals, logs nothing, makes no process groups, and leaves
//! orphans when it is killed. What prefork does on top of it is what a ratio above 1 pays for.
//!
//! Both contenders are this same program, started afresh for every round, so they have the same pages to copy on fork.
//! Workers report by writing the time (CLOCK_MONOTONIC) into memory shared with the process that measures; the last
//! one awaited wakes it with a byte. Nothing is polled. prefork's backoff and budget are switched off, as the bare loop
//! has none; its lines go to /dev/null, or in the rows that say so to a pipe that is read.
//!
//! # How to read the figures
//!
//! Only ratios: other work on the machine moves the times, but it moves both. The contenders take turns within a round,
//! in changing order; `ratio` is the median of all of prefork's samples over the median of all of the bare loop's, and
//! `rounds` are the lowest and the highest ratio of a single round. `same` is the bare loop run a second time in every
//! round, over itself: what it differs from 1 is what this run cannot tell from nothing. A ratio is a finding only when
//! it is further from 1 than `same` is, in run after run.
//!
//! The aim is 1.15 in each row; an idle supervisor is to do nothing at all. `set-up` is the time from the call of `run`
//! to the first fork, paid once: options, environment, fork check, first line; the bare loop has nothing to set up.
//!
//! `heartbeat` is the time of one call of `Worker::heartbeat` in a worker, with `heartbeat_timeout` set. `wakeups` counts
//! how often the supervisor runs while nothing happens but time, with time-based options set, and against that the
//! deadlines that fell due meanwhile: there must be no more than one wakeup for each.

#[cfg(target_os = "linux")]
mod bench;
#[cfg(target_os = "linux")]
#[path = "../contest.rs"]
mod contest;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    bench::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the benchmark reads /proc and shares memory as Linux does");
}
