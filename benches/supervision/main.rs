//! What supervision costs: prefork against a bare loop of fork and waitpid, in ratios.
//!
//! `cargo bench --bench supervision` takes about a quarter of an hour, with `-- --quick` two minutes, and says less. A word
//! selects the rows whose names have it (`-- restart`), `--rounds 60` sharpens them, `-- --help` names all rows. Linux only.
//! The rows with 1 GiB need 3 GiB of memory. `--write` measures all rows, and writes them with date and machine into the
//! chapter "Performance" of the guide: `performance-figures.md` and `performance-chart.svg`; the other benchmark's main rows
//! go there, too.
//!
//! # What is measured
//!
//! | row | what |
//! |---|---|
//! | start | from just before the exec of the supervisor to the last worker's first statement |
//! | stop | from just before SIGTERM to the supervisor until supervisor and workers are gone |
//! | restart | from just before SIGKILL to one worker to its replacement's first statement |
//! | burst | from just before SIGKILL to all workers, one after another, to the last replacement's first statement |
//! | crash loop | workers that report and exit with status 1, all the time: time and CPU for each restart |
//! | worker's life | CPU and page faults of supervisor and workers, for each worker more, which reports and exits with status 0 |
//! | private memory | Private_Dirty at rest, of the supervisor, and the mean of the workers |
//! | 1 GiB preloaded | the bare loop has it in pages of 4 KiB, prefork as `preload` returns a `Vec` of it |
//! | 1 GiB in huge pages | the same with PREFORK_HUGE_PAGES=true, which moves all of it however long that takes |
//! | 1 GiB preloaded and read, PSS | of the supervisor and four workers that have read all of it: what several share counts once |
//! | reseeding | with the cargo features that reseed the random numbers of three crates in every worker |
//! | lines to a pipe | prefork's lines go to a pipe that is read, and to /dev/null elsewhere |
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
//! | before | with `--before`: an earlier prefork |
//!
//! The bare loop is the least that keeps N workers alive: it forks them, waits, replaces a worker that failed, passes
//! SIGTERM on and reaps. It checks nothing, blocks no signals, logs nothing, makes no process groups, and leaves
//! orphans when it is killed. What prefork does on top of it is what a ratio above 1 pays for.
//!
//! Workers report by writing the time (CLOCK_MONOTONIC) into memory shared with the process that measures; the last
//! one awaited wakes it with a byte. Nothing is polled. prefork's backoff and budget are switched off, as the bare loop
//! has none.
//!
//! # How to read the figures
//!
//! Only ratios: other work on the machine moves the times, but it moves both. The contenders take turns within a round,
//! in changing order; `ratio` is the median of all of prefork's samples over the median of all of the limit's, and
//! `rounds` are the lowest and the highest ratio of a single round. `same` is the limit run a second time in every
//! round, over itself: what it differs from 1 is what this run cannot tell from nothing. A ratio is a finding only when
//! it is further from 1 than `same` is, in run after run. `inside` is prefork over the bare loop in the same program.
//!
//! # Before and after
//!
//! `--before PATH` takes the program `pool` that was built from another checkout, has it take turns with the others, and
//! prints its times and ratios beside ours. `reseeding` takes part as well where it lies beside `pool`. Build both from
//! this `benches/contenders`, as the two processes share memory of the layout that it describes:
//!
//! ```text
//! git worktree add --detach ../before COMMIT
//! rm -rf ../before/benches/contenders && cp -r benches/contenders ../before/benches/
//! grep -q benches/contenders ../before/Cargo.toml ||
//!     sed -i 's|^members = \[|&"benches/contenders", |' ../before/Cargo.toml
//! (cd ../before && cargo build --release -p contenders --bin pool &&
//!     cargo build --release -p contenders --bin reseeding --features reseed)
//! cargo bench --bench supervision -- --before ../before/target/release/pool
//! git worktree remove --force ../before
//! ```
//!
//! # Other servers
//!
//! nginx, php-fpm, gunicorn and Tornado are measured when they are installed, in a quarter of the rounds, in a table of
//! their own, which `-- peers` selects and `--quick` leaves out. They are looked for in PATH and /usr/sbin: Debian has
//! packages `nginx-light` and `php-fpm`; for the others make a virtual environment, install `gunicorn` and `tornado` in it,
//! and begin PATH with its `bin`. They cannot report. So each is watched from outside, the limit and prefork as well: a
//! worker counts as soon as it is forked, which is seen within about 50 µs. Other programs that fork meanwhile make these
//! figures wrong. They cannot be compared with those of the other tables. Tornado has no figure for stop: its workers stay
//! when it is told to end. What is slow with many workers is measured with fewer, and in fewer rounds.
//!
//! # What has no limit
//!
//! A reload of workers that drain for a second; what an idle supervisor does, where the goal is nothing; how often it runs
//! while nothing happens but time, with time-based options set, and against that the deadlines that fell due meanwhile;
//! the time of one call of `Worker::heartbeat`; and, but for `--quick`, what prefork adds to a user's build and binary, as
//! `.ci/weight.sh` measures it.

#[cfg(target_os = "linux")]
mod bench;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    bench::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the benchmark reads /proc and shares memory as Linux does");
}
