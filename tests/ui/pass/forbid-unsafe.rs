#![forbid(unsafe_code)]
#![deny(warnings, unused_qualifications, unused, missing_docs, unreachable_pub)]
//! Every option and every argument.

use std::net::TcpListener;

use prefork_rt::Worker;
use prefork_rt::prefork;

fn load() -> Result<String, std::fmt::Error> {
    Ok(String::new())
}

/// Serves.
#[prefork(
    crate = ::prefork_rt,
    workers = "auto",
    max_restarts = "unlimited",
    graceful_timeout = "30s",
    backoff = "100ms..1s",
    listen = "127.0.0.1:0",
    preload = load,
)]
pub fn main(task_id: usize, worker: Worker, listener: TcpListener, text: &String) -> std::io::Result<()> {
    assert_eq!(task_id, worker.task_id());
    assert!(text.is_empty());
    listener.set_nonblocking(true)
}
