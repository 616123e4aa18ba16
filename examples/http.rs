//! A web server of several processes on one address, which survives the death of any of them.
//!
//! `cargo run --example http`, then `curl http://127.0.0.1:8080/` a few times: each answer says which worker gave it.
//! `kill -9` one: the next is there before you can ask again. Ctrl-C, or `kill` the supervisor: requests in flight
//! are answered (try `curl http://127.0.0.1:8080/slow`), then all is over.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use prefork_rt::{Worker, prefork};
use tokio::net::TcpListener; // with prefork-rt's cargo feature `tokio`

#[prefork(listen = "127.0.0.1:8080", graceful_timeout = "10s")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, listener: TcpListener) -> std::io::Result<()> {
    let shutdown = worker.shutdown();
    let answer =
        format!("hello from worker {} of {}, pid {}\n", worker.task_id(), worker.workers(), std::process::id());
    let slow_answer = answer.clone();
    let app = Router::new().route("/", get(move || async move { answer })).route(
        "/slow",
        get(move || async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            slow_answer
        }),
    );

    // Told to stop, it accepts no more, finishes what was begun, and returns.
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}
