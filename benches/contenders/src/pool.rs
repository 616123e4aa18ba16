//! prefork, in a program as a user would write it: nothing is linked but prefork, and no feature of it is asked for.

use std::process::ExitCode;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;

use contenders::bare_loop::bare_loop;
use contenders::board::{HEARTBEAT_TIMEOUT, board, now};
use contenders::body::{report, work};
use contenders::contest::{contend, refuse};
use prefork_rt::{Prefork, Worker};

/// How many calls are measured at once.
const HEARTBEATS: u64 = 10_000_000;

fn main() -> ExitCode {
    contend(|name, workers| match name {
        "prefork" => pool(workers).run(|worker| -> () { work(worker.task_id()) }),
        "loop" => bare_loop(workers, work),
        "heartbeat" => {
            Prefork::new().workers(workers).heartbeat_timeout("1s").run(|worker| -> () { time_heartbeats(worker) })
        }
        "wakeups" => Prefork::new()
            .workers(workers)
            .heartbeat_timeout(HEARTBEAT_TIMEOUT)
            .max_memory("1TiB")
            .run(|worker| -> () { send_heartbeats_at_intervals(worker) }),
        _ => refuse(name),
    })
}

/// Without backoff and budget, of which the bare loop has none.
fn pool(workers: usize) -> Prefork {
    Prefork::new().workers(workers).max_restarts("unlimited").backoff("0s")
}

/// Measures a call, and reports it in place of a time.
fn time_heartbeats(worker: Worker) -> ! {
    worker.heartbeat();
    let start = now();
    for _ in 0..HEARTBEATS {
        worker.heartbeat();
    }
    let slot = &board().slots[worker.task_id()];
    slot.picoseconds_a_heartbeat.store((now() - start) * 1000 / HEARTBEATS, SeqCst);
    work(worker.task_id())
}

fn send_heartbeats_at_intervals(worker: Worker) -> ! {
    worker.heartbeat();
    report(worker.task_id());
    loop {
        sleep(HEARTBEAT_TIMEOUT / 4);
        worker.heartbeat();
    }
}
