//! The contenders that use prefork: by its builder, or where the name of a contender begins with "preload", by its attribute.

mod at_rest;
mod preloaded;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use contenders::bare_loop;
use contenders::body;
use contenders::contest::{self, refuse};
use prefork_rt::{Prefork, Worker};

pub fn main() -> ExitCode {
    contest::contend(contend)
}

fn contend(name: &str, workers: usize) -> ExitCode {
    let pool = Prefork::new().workers(workers);
    match name {
        "wait" => endless(pool).run(|worker| -> () { body::wait(worker.task_id()) }),
        "end" => endless(pool).run(|worker| body::end(worker.task_id())),
        "crash" => endless(pool).run(|worker| ExitCode::from(body::crash(worker.task_id()))),
        "preloaded" | "read" => preloaded::contend(name, workers),
        "drain" => pool.run(drain),
        "heartbeat" => pool.heartbeat_timeout("1s").run(|worker| -> () { at_rest::time_heartbeats(worker) }),
        "wakeups" => pool
            .heartbeat_timeout(contenders::board::HEARTBEAT_TIMEOUT)
            .max_memory("1TiB")
            .run(|worker| -> () { at_rest::send_heartbeats_at_intervals(worker) }),
        _ => match name.strip_prefix("bare ") {
            Some(name) => bare_loop::contend(name, workers),
            None => refuse(name),
        },
    }
}

/// Without backoff and budget, of which the bare loop has none.
fn endless(pool: Prefork) -> Prefork {
    pool.max_restarts("unlimited").backoff("0s")
}

/// Told to stop, it takes a second to finish what it does.
fn drain(worker: Worker) {
    let shutdown = worker.shutdown();
    body::report(worker.task_id());
    shutdown.wait();
    sleep(Duration::from_secs(1));
}
