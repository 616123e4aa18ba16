//! What supervision costs: prefork against a bare loop of fork and waitpid, in ratios.
//!
//! `cargo bench --bench supervision` takes about six minutes, with `-- --quick` one, and says less. A word selects rows
//! (`-- restart`), `--rounds 60` sharpens them. Linux only.
//!
//! # What is measured
//!
//! | row | from | to |
//! |---|---|---|
//! | start | just before the exec of the supervisor | the last worker's first statement |
//! | restart | just before SIGKILL to one worker | its replacement's first statement |
//! | burst | just before SIGKILL to all workers, one after another | the last replacement's first statement |
//! | stop | just before SIGTERM to the supervisor | supervisor and workers are gone |
//!
//! The contenders are small programs of their own, in `benches/contenders`, which this one builds and starts afresh for
//! every sample:
//!
//! | contender | what it is |
//! |---|---|
//! | limit | a bare loop of fork and waitpid in a program that has nothing else |
//! | prefork | a program that uses prefork, without a cargo feature |
//! | same | the limit once more |
//! | inside | the bare loop in the program that uses prefork, so that both have the same pages to copy on fork |
//!
//! The bare loop is the least that keeps N workers alive: it forks them, waits, replaces a worker that died, passes
//! SIGTERM on and reaps. It checks nothing, blocks no signals, logs nothing, makes no process groups, and leaves
//! orphans when it is killed. What prefork does on top of it is what a ratio above 1 pays for.
//!
//! Workers report by writing the time (CLOCK_MONOTONIC) into memory shared with the process that measures; the last
//! one awaited wakes it with a byte. Nothing is polled. prefork's backoff and budget are switched off, as the bare loop
//! has none; its lines go to /dev/null, or in the rows that say so to a pipe that is read.
//!
//! # How to read the figures
//!
//! Only ratios: other work on the machine moves the times, but it moves both. The contenders take turns within a round,
//! in changing order; `ratio` is the median of all of prefork's samples over the median of all of the limit's, and
//! `rounds` are the lowest and the highest ratio of a single round. `same` is the limit run a second time in every
//! round, over itself: what it differs from 1 is what this run cannot tell from nothing. A ratio is a finding only when
//! it is further from 1 than `same` is, in run after run. `inside` is prefork over the bare loop in the same program.
//!
//! The aim is 1.15 in each row; an idle supervisor is to do nothing at all.
//!
//! `heartbeat` is the time of one call of `Worker::heartbeat` in a worker, with `heartbeat_timeout` set. `wakeups` counts
//! how often the supervisor runs while nothing happens but time, with time-based options set, and against that the
//! deadlines that fell due meanwhile: there must be no more than one wakeup for each.

#[cfg(target_os = "linux")]
mod bench;

#[cfg(target_os = "linux")]
fn main() {
    bench::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the benchmark reads /proc and shares memory as Linux does");
}
