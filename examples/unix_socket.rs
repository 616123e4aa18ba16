//! A web server on a Unix socket, behind nginx or another proxy on the same machine.
//!
//! `cargo run --example unix_socket`, then `curl --unix-socket /tmp/prefork.sock http://localhost/`. `kill -HUP` the supervisor
//! while clients ask: none of them sees a failure. The supervisor makes the socket file, with the rights that the address
//! says, and removes it when the pool has ended.

use std::io;

use axum::Router;
use axum::routing::get;
use prefork_rt::hyper::serve; // with prefork-rt's cargo feature `hyper_1`
use prefork_rt::{Worker, prefork};
use tokio::net::UnixListener;

#[prefork(listen = "unix:/tmp/prefork.sock", ready_timeout = "10s", max_restarts = "unlimited")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, listener: UnixListener) -> io::Result<()> {
    let answer = format!("hello from worker {}, pid {}\n", worker.task_id(), std::process::id());
    serve(worker, listener, Router::new().route("/", get(answer))).await
}
