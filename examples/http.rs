//! A web server of several processes on one address, which survives the death of any of them.
//!
//! `cargo run --example http`, then `curl http://127.0.0.1:8080/` a few times: each answer says which worker gave it.
//! `kill -9` one: the next is there before you can ask again. `kill -HUP` the supervisor: all
//! workers are replaced, and no request fails. Ctrl-C, or `kill` the supervisor: requests in flight are answered (try
//! `curl http://127.0.0.1:8080/slow`), then all is over.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use prefork_rt::hyper::serve; // with prefork-rt's cargo feature `hyper_1`
use prefork_rt::{Worker, prefork};
use tokio::net::TcpListener;
use tokio::time::sleep;

// Strangers can send requests. If one of them crashes a worker, a limit would let its sender end the service:
// `max_restarts = "unlimited"`, or a `restart_window`, leaves it to you when to end it.
#[prefork(listen = "127.0.0.1:8080", graceful_timeout = "10s", ready_timeout = "10s", max_restarts = "unlimited")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    let answer =
        format!("hello from worker {} of {}, pid {}\n", worker.task_id(), worker.workers(), std::process::id());
    let slow_answer = answer.clone();
    let slow = move || async move {
        sleep(Duration::from_secs(2)).await;
        slow_answer
    };
    let app = Router::new().route("/", get(answer)).route("/slow", get(slow));
    // It is ready, accepts, and at the stop finishes what has begun.
    serve(worker, listener, app).await
}
