//! A contender: the process that supervises, and its workers.

use std::io::{self};
use std::process::ExitCode;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::Duration;

use nix::unistd::{getpid, pause, write};
use prefork_rt::{Prefork, Worker};

use super::bare_loop::bare_loop;
use super::board::{BOARD, board, map, now};

/// How many calls are measured at once.
pub const HEARTBEATS: u64 = 10_000_000;

pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// The supervisor's process: standard input is the board, standard output wakes the process that measures.
pub fn contend(name: &str, workers: usize) -> ExitCode {
    let _ = BOARD.set(map(io::stdin()));
    // SAFETY: the handler only reads a clock and sets an atomic.
    let failed = unsafe { libc::pthread_atfork(Some(before_fork), None, None) };
    assert_eq!(failed, 0);
    board().called.store(now(), SeqCst);
    match name {
        "prefork" => Prefork::new()
            .workers(workers)
            .max_restarts("unlimited")
            .backoff("0s")
            .run(|worker| -> () { work(worker.task_id()) }),
        "heartbeat" => {
            Prefork::new().workers(workers).heartbeat_timeout("1s").run(|worker| -> () { time_heartbeats(worker) })
        }
        "wakeups" => Prefork::new()
            .workers(workers)
            .heartbeat_timeout(HEARTBEAT_TIMEOUT)
            .max_memory("1TiB")
            .run(|worker| -> () { send_heartbeats_at_intervals(worker) }),
        _ => bare_loop(workers),
    }
}

/// Measures a call, and reports it in place of a time.
pub fn time_heartbeats(worker: Worker) -> ! {
    worker.heartbeat();
    let start = now();
    for _ in 0..HEARTBEATS {
        worker.heartbeat();
    }
    let slot = &board().slots[worker.task_id()];
    slot.picoseconds_a_heartbeat.store((now() - start) * 1000 / HEARTBEATS, SeqCst);
    work(worker.task_id())
}

pub fn send_heartbeats_at_intervals(worker: Worker) -> ! {
    worker.heartbeat();
    report(worker.task_id());
    loop {
        sleep(HEARTBEAT_TIMEOUT / 4);
        worker.heartbeat();
    }
}

pub extern "C" fn before_fork() {
    let first_fork = &board().first_fork;
    if first_fork.load(SeqCst) == 0 {
        first_fork.store(now(), SeqCst);
    }
}

/// The body of every worker.
pub fn work(task_id: usize) -> ! {
    report(task_id);
    loop {
        pause();
    }
}

pub fn report(task_id: usize) {
    let board = board();
    let slot = &board.slots[task_id];
    slot.running_since.store(now(), SeqCst);
    slot.pid.store(getpid().as_raw(), SeqCst);
    if board.reports.fetch_add(1, SeqCst) + 1 == board.awaited.load(SeqCst) {
        write(io::stdout(), b".").expect("the process that measures reads it");
    }
}
