//! A web server of several processes on one address, which survives the death of any of them.
//!
//! `cargo run --example http`, then `curl http://127.0.0.1:8080/` a few times: each answer says which worker gave it.
//! `kill -9` one: the next is there before you can ask again. `kill -HUP` the supervisor: all
//! workers are replaced, and no request fails. Ctrl-C, or `kill` the supervisor: requests in flight are answered (try
//! `curl http://127.0.0.1:8080/slow`), then all is over.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use axum::{Router, serve::Listener};
use prefork_rt::{Shutdown, Worker, prefork};
use tokio::net::{TcpListener, TcpStream}; // with prefork-rt's cargo feature `tokio`

/// Who is in when the worker is told to stop has so long to say something, and is told to leave with the answer.
const DRAIN: Duration = Duration::from_millis(500);

#[prefork(listen = "127.0.0.1:8080", graceful_timeout = "10s", ready_timeout = "10s")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
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
    let leaving = shutdown.clone();
    let app = app.layer(map_response(move |response| std::future::ready(say_goodbye(response, &leaving))));

    let door = Door { open: Some(listener), shutdown: shutdown.clone() };
    worker.ready();
    let drained = async {
        shutdown.await;
        tokio::time::sleep(DRAIN).await;
    };
    axum::serve(door, app).with_graceful_shutdown(drained).await
}

/// After the stop was requested, each answer is the last on its connection: the client's next one reaches another
/// worker. A connection that the server closed without a word could be one on which a request is under way.
fn say_goodbye(mut response: Response, shutdown: &Shutdown) -> Response {
    if shutdown.is_requested() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The listener, until the stop is requested.
struct Door {
    open: Option<TcpListener>,
    shutdown: Shutdown,
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        if let Some(listener) = &mut self.open {
            tokio::select! {
                _ = &mut self.shutdown => {}
                accepted = Listener::accept(listener) => return accepted,
            }
        }
        self.open = None;
        pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.open.as_ref().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }
}
