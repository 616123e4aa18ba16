//! What has no limit to be compared with: a supervisor at rest, a heartbeat, and a reload of workers that take their time.

use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::{Duration, Instant};

use contenders::board::HEARTBEAT_TIMEOUT;

use super::figures::{Unit, median};
use super::process::activity;
use super::programs;
use super::running::{Log, Running};
use super::table::Table;

/// How often `max_memory` is looked after.
const WEIGH_EVERY: Duration = Duration::from_secs(10);

/// A figure, and its goal.
pub struct Fact {
    pub name: String,
    /// Empty where there are none.
    pub workers: String,
    pub figure: String,
    pub aim: String,
}

impl Fact {
    pub fn table(facts: Vec<Fact>) -> Table {
        let mut table = Table::new(["without a limit", "N", "figure", "aim"]);
        let lines = facts.into_iter().map(|fact| vec![fact.name, fact.workers, fact.figure, fact.aim]);
        lines.for_each(|line| table.push(line));
        table
    }
}

/// Nothing happens at all.
pub fn idle(time: Duration) -> Fact {
    const WORKERS: usize = 8;
    let pool = Running::start(&programs::path("pool"), "wait", &[], WORKERS, Log::Null);
    sleep(Duration::from_millis(200));
    let before = activity(pool.pid());
    sleep(time);
    let after = activity(pool.pid());
    pool.stop_time();
    let (switches, ticks) = (after.switches - before.switches, after.cpu_ticks - before.cpu_ticks);
    Fact {
        name: format!("idle for {} s: context switches, CPU", time.as_secs()),
        workers: WORKERS.to_string(),
        figure: format!("{switches}, {} ms", ticks * 10),
        aim: "0, 0 ms".into(),
    }
}

/// Nothing happens but time, with options that go by it. Switches that the supervisor did not ask for are not wakeups.
pub fn wakeups(time: Duration) -> Fact {
    const WORKERS: usize = 8;
    let pool = Running::start(&programs::path("pool"), "wakeups", &[], WORKERS, Log::Null);
    sleep(Duration::from_millis(200));
    let before = activity(pool.pid()).wakeups;
    let start = Instant::now();
    sleep(time);
    let (wakeups, seconds) = (activity(pool.pid()).wakeups - before, start.elapsed().as_secs_f64());
    pool.stop_time();
    // A worker's heartbeat deadline is one timeout after the last heartbeat that was seen: at least three quarters of a
    // timeout after it was looked at.
    let beats = seconds / (HEARTBEAT_TIMEOUT.as_secs_f64() * 0.75);
    let deadlines = WORKERS as f64 * (beats.ceil() + (seconds / WEIGH_EVERY.as_secs_f64()).ceil());
    Fact {
        name: format!("{} s of heartbeats and max_memory: wakeups", time.as_secs()),
        workers: WORKERS.to_string(),
        figure: wakeups.to_string(),
        aim: format!("at most {deadlines:.0}, its deadlines"),
    }
}

/// A call in each of two workers that run at the same time.
pub fn heartbeat() -> Fact {
    let pool = Running::start(&programs::path("pool"), "heartbeat", &[], 2, Log::Null);
    let calls = [0, 1].map(|task_id| pool.board.slots[task_id].picoseconds_a_heartbeat.load(SeqCst));
    pool.stop_time();
    let [first, second] = calls.map(|picoseconds| picoseconds as f64 / 1e3);
    Fact {
        name: "Worker::heartbeat, a call, in two workers at once".into(),
        workers: 2.to_string(),
        figure: format!("{first:.1}, {second:.1} ns"),
        aim: String::new(),
    }
}

/// Workers that take a second to finish what they do.
pub fn reload(rounds: usize) -> Fact {
    const WORKERS: usize = 32;
    let times = (0..rounds.min(3)).map(|_| {
        let mut pool = Running::start(&programs::path("pool"), "drain", &[], WORKERS, Log::Null);
        let time = pool.reload_time();
        pool.stop_time();
        time
    });
    Fact {
        name: "reload of workers that drain for 1 s".into(),
        workers: WORKERS.to_string(),
        figure: Unit::Time.write(median(times.collect())),
        aim: "5 s".into(),
    }
}
