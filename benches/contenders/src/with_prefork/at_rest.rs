//! Workers that send heartbeats.

use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;

use contenders::board::{HEARTBEAT_TIMEOUT, board, now};
use contenders::body;
use prefork_rt::Worker;

/// How many calls are measured at once.
const HEARTBEATS: u64 = 10_000_000;

/// Measures a call, and reports it in place of a time.
pub fn time_heartbeats(worker: Worker) -> ! {
    worker.heartbeat();
    let start = now();
    for _ in 0..HEARTBEATS {
        worker.heartbeat();
    }
    let slot = &board().slots[worker.task_id()];
    slot.picoseconds_a_heartbeat.store((now() - start) * 1000 / HEARTBEATS, SeqCst);
    body::wait(worker.task_id())
}

pub fn send_heartbeats_at_intervals(worker: Worker) -> ! {
    worker.heartbeat();
    body::report(worker.task_id());
    loop {
        sleep(HEARTBEAT_TIMEOUT / 4);
        worker.heartbeat();
    }
}
