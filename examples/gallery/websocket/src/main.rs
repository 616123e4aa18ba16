//! WebSockets that end in order: at a stop or in a reload each client gets a Close frame, and connects anew.
//!
//! `cargo run -p gallery-websocket` in the folder `examples/gallery`, then `cargo run -p gallery-websocket --bin websocket-client
//! 127.0.0.1:8080`, which says something, and tells how its connection ends. `kill -HUP` the supervisor: the client is told
//! with code 1012, "service restart".
//!
//! `serve` waits for upgraded connections until their handlers return, at most for `graceful_timeout`. The handler learns
//! of the stop from `Shutdown`.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use axum::routing::get;
use prefork_rt::hyper::serve;
use prefork_rt::{Shutdown, Worker, prefork};
use tokio::net::TcpListener;
use tokio::select;
use tokio::time::timeout;

/// How long a client may take to answer the Close frame.
const PATIENCE: Duration = Duration::from_secs(5);

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, shutdown: Shutdown, listener: TcpListener) -> io::Result<()> {
    let hello = format!("hello from worker {}, pid {}\n", worker.task_id(), std::process::id());
    let echo = move |upgrade: WebSocketUpgrade| async move { answer(upgrade, shutdown) };
    serve(worker, listener, Router::new().route("/", get(hello)).route("/echo", get(echo))).await
}

fn answer(upgrade: WebSocketUpgrade, shutdown: Shutdown) -> Response {
    upgrade.on_upgrade(|socket| echo(socket, shutdown))
}

async fn echo(mut socket: WebSocket, mut shutdown: Shutdown) {
    loop {
        select! {
            _ = &mut shutdown => break,
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        }
    }
    let close = CloseFrame { code: close_code::RESTART, reason: "this worker stops".into() };
    if socket.send(Message::Close(Some(close))).await.is_ok() {
        // What the client has sent before it saw the frame is read, so that its answer arrives.
        let _ = timeout(PATIENCE, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    }
}
