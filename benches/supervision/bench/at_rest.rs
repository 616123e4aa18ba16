//! What a supervisor costs while nothing happens but time, and what a heartbeat costs.

use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::{Duration, Instant};

use contenders::board::HEARTBEAT_TIMEOUT;

use super::rows::{CONTESTANTS, LIMIT, PREFORK};
use super::running::{Log, Running};

/// How often `max_memory` is looked after.
pub const WEIGH_EVERY: Duration = Duration::from_secs(10);

/// A call in each of two workers that run at the same time.
pub fn heartbeat() {
    let contender = Running::start(("pool", "heartbeat"), 2, Log::Null);
    let calls = [0, 1].map(|task_id| contender.board.slots[task_id].picoseconds_a_heartbeat.load(SeqCst));
    let [first, second] = calls.map(|picoseconds| picoseconds as f64 / 1e3);
    println!("\nheartbeat: {first:.1} ns and {second:.1} ns a call, in two workers at once");
    contender.stop_time();
}

/// At rest but for the time-based options. Switches that the supervisor did not ask for are not wakeups.
pub fn wakeups(time: Duration) {
    const WORKERS: usize = 8;
    let contender = Running::start(("pool", "wakeups"), WORKERS, Log::Null);
    sleep(Duration::from_millis(200));
    let before = contender.wakeups();
    let start = Instant::now();
    sleep(time);
    let (wakeups, time) = (contender.wakeups() - before, start.elapsed().as_secs_f64());
    // A worker's heartbeat deadline is one timeout after the last heartbeat that was seen: at least three quarters of a
    // timeout after it was looked at.
    let beats = time / (HEARTBEAT_TIMEOUT.as_secs_f64() * 0.75);
    let deadlines = WORKERS as f64 * (beats.ceil() + (time / WEIGH_EVERY.as_secs_f64()).ceil());
    println!("\nwakeups in {time:.0} s, N = {WORKERS}: {wakeups}, of at most {deadlines:.0} deadlines");
    contender.stop_time();
}

/// Both at rest, side by side.
pub fn idle(time: Duration) {
    let contenders = [LIMIT, PREFORK].map(|contestant| Running::start(CONTESTANTS[contestant], 8, Log::Null));
    sleep(Duration::from_millis(200));
    let before = contenders.each_ref().map(Running::activity);
    let start = Instant::now();
    sleep(time);
    let after = contenders.each_ref().map(Running::activity);
    let [limit, prefork] = contenders.each_ref().map(Running::private_dirty_kilobytes);
    println!("\nidle for {:.0} s, N = 8", start.elapsed().as_secs_f64());
    println!("{:<26} {:>10} {:>10}", "", "limit", "prefork");
    let [switches, ticks] = [|activity: (u64, u64)| activity.0, |activity: (u64, u64)| activity.1]
        .map(|part| [0, 1].map(|contender| part(after[contender]) - part(before[contender])));
    println!("{:<26} {:>10} {:>10}", "context switches", switches[0], switches[1]);
    println!("{:<26} {:>10} {:>10}", "CPU ticks", ticks[0], ticks[1]);
    let ratio = prefork as f64 / limit as f64;
    println!("{:<26} {:>7} kB {:>7} kB {ratio:>6.2}", "private dirty memory", limit, prefork);
    for contender in contenders {
        contender.stop_time();
    }
}
