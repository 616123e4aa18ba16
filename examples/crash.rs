//! A worker that cannot stay up: restarted at once, then after growing delays, until the budget is spent. Then the
//! healthy one is stopped too, and the exit status is 1.
//!
//! `cargo run --example crash; echo $?`

use std::thread;
use std::time::Duration;

use prefork_rt::{Worker, prefork};

#[prefork(workers = 2, max_restarts = 5, backoff = "100ms..400ms", graceful_timeout = "2s")]
fn main(worker: Worker) {
    if worker.task_id() == 1 {
        thread::sleep(Duration::from_millis(20));
        panic!("attempt {} of a worker that has nothing to live for", worker.restarts() + 1);
    }
    println!("worker 0 is well, pid {}", std::process::id());
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}
