//! The port of a Tornado program, line by line:
//!
//! ```python
//! sockets = bind_sockets(0, "127.0.0.1")
//! task_id = fork_processes(4, max_restarts=10)
//! jobs = [job for job in range(20) if job % 4 == task_id]
//! print(task_id, jobs)
//! ```
//!
//! `cargo run --example tornado`
//!
//! A limit of restarts, Tornado's default, is right for jobs. A service that strangers send requests to sets none, or a window
//! (`PREFORK_RESTART_WINDOW`), because one of them may find a request that crashes workers.

use std::error::Error;
use std::net::TcpListener;

use prefork_rt::{fork_processes, task_id};

fn main() -> Result<(), Box<dyn Error>> {
    // What is opened before the fork is there in every worker, as in Tornado.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    assert_eq!(task_id(), None, "the first process is no worker");

    // `?` ends the first process with status 1; `error.exit_code()` would tell bad configuration (2) apart.
    let id = fork_processes(4, 10)?;

    // From here on every line runs in each worker, and again in a worker's replacement.
    let jobs: Vec<usize> = (0..20).filter(|job| job % 4 == id).collect();
    println!("worker {id} shares {} and does jobs {jobs:?}", listener.local_addr()?);
    Ok(())
}
