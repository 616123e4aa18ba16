//! A web server of several processes on one address, which survives the death of any of them.
//!
//! `cargo run --example http`, then `curl http://127.0.0.1:8080/` a few times: each answer says which worker gave it.
//! `kill -9` one: the next is there before you can ask again. `kill -HUP` the supervisor: all
//! workers are replaced, and no request fails. Ctrl-C, or `kill` the supervisor: requests in flight are answered (try
//! `curl http://127.0.0.1:8080/slow`), then all is over.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prefork_rt::{Shutdown, Worker, prefork};
use tokio::net::{TcpListener, TcpStream}; // with prefork-rt's cargo feature `tokio`
use tokio::time::sleep;

/// Who is in when the worker is told to stop has so long to say something, and is told to leave with the answer.
const DRAIN: Duration = Duration::from_millis(500);
/// A connection is closed when its next request has not come by then: clients that never finish theirs would keep all
/// descriptors. `axum::serve` has no such limit, so this example serves with hyper itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where a client cannot be accepted, for want of descriptors for example, the next try is this much later.
const RETRY: Duration = Duration::from_millis(100);

// Strangers can send requests. If one of them crashes a worker, a limit would let its sender end the service:
// `max_restarts = "unlimited"`, or a `restart_window`, leaves it to you when to end it.
#[prefork(listen = "127.0.0.1:8080", graceful_timeout = "10s", ready_timeout = "10s", max_restarts = "unlimited")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    let mut shutdown = worker.shutdown();
    let answer =
        format!("hello from worker {} of {}, pid {}\n", worker.task_id(), worker.workers(), std::process::id());
    let slow_answer = answer.clone();
    let app = Router::new().route("/", get(move || async move { answer })).route(
        "/slow",
        get(move || async move {
            sleep(Duration::from_secs(2)).await;
            slow_answer
        }),
    );
    let leaving = shutdown.clone();
    let app = app.layer(map_response(move |response| std::future::ready(say_goodbye(response, &leaving))));

    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let (connections, app) = (GracefulShutdown::new(), TowerToHyperService::new(app));
    worker.ready();
    while let Some(client) = accept(&listener, &mut shutdown).await {
        // What goes wrong on a connection is the affair of this client alone.
        tokio::spawn(connections.watch(http.serve_connection(TokioIo::new(client), app.clone())));
    }
    drop(listener);
    sleep(DRAIN).await;
    connections.shutdown().await;
    Ok(())
}

/// The next client, until the stop is requested.
async fn accept(listener: &TcpListener, shutdown: &mut Shutdown) -> Option<TcpStream> {
    loop {
        tokio::select! {
            _ = &mut *shutdown => return None,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => return Some(client),
                Err(_) => sleep(RETRY).await,
            },
        }
    }
}

/// After the stop was requested, each answer is the last on its connection: the client's next one reaches another
/// worker. A connection that the server closed without a word could be one on which a request is under way.
fn say_goodbye(mut response: Response, shutdown: &Shutdown) -> Response {
    if shutdown.is_requested() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
