//! An HTTP server for the body of a worker: [`serve`], on hyper. With the cargo feature `hyper_1`.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use prefork_rt::{Worker, prefork};
//! use tokio::net::TcpListener;
//!
//! #[prefork(listen = "127.0.0.1:8080", max_restarts = "unlimited")]
//! #[tokio::main(flavor = "current_thread")]
//! async fn main(worker: Worker, listener: TcpListener) -> std::io::Result<()> {
//!     let app = Router::new().route("/", get("hello\n"));
//!     prefork_rt::hyper::serve(worker, listener, app).await
//! }
//! ```

mod accept;
mod answer;
mod bounds;
mod connection;
mod connections;
mod listener;
mod socket;
mod table;

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::{Request, Response};

use crate::worker::Worker;
use crate::worker::grace::graceful_timeout;
use crate::worker::shutdown::Shutdown;
use accept::{accept_until_stopped, drain};
use bounds::Bounds;
use connections::Connections;
pub use listener::Listener;
use socket::Socket;

/// Serves HTTP/1 and HTTP/2 on this listener until the worker is told to stop, and then finishes what it has begun. Await
/// what it returns; its methods set bounds.
///
/// The service is a tower `Service` of `http::Request<hyper::body::Incoming>` that is `Clone`: axum's `Router`, tonic's
/// routes, a warp service, `tower::service_fn`. It is cloned for each connection.
///
/// * **The start.** It takes SIGTERM ([`Worker::shutdown`]) when it is called, and calls [`Worker::ready`] when it is
///   awaited. So a worker that has something to warm up does so before.
/// * **The stop.** From SIGTERM on it accepts no more, and drops the listener, so the other workers and the worker's
///   replacement take what waits in its queue. HTTP/2 clients are told at once (GOAWAY). Each answer of HTTP/1 says
///   `Connection: close`. Connections that stay idle are closed after [`drain_idle_timeout`](Serve::drain_idle_timeout):
///   closed at once, they would take requests along that are on the way. Requests that have begun are finished. It
///   resolves when the last connection is closed. What takes longer than the option `graceful_timeout` is killed with the
///   worker.
/// * **Upgraded connections and long streams.** It waits for an upgraded connection (a WebSocket) until its handler has
///   dropped it, and for a stream until it has ended. A handler learns of the stop from [`Worker::shutdown`], which it may
///   call itself, or from a clone of its [`Shutdown`].
/// * **Bounds** keep slow and idle clients from taking all connections; each has a default and a method here. It sets
///   no bound on the time of a body or of an answer, because it may be a long stream: a layer of the service does
///   (`tower_http::timeout`).
/// * **Errors of one connection** are the affair of its client. A panic of the service ends that connection (in HTTP/2
///   that request). Where accept(2) fails for want of descriptors, the connection that has been idle for the longest is
///   closed, and a line says so.
///
/// TCP connections have TCP_NODELAY, and those of a listener that workers share are spread evenly over the workers, as with
/// [`BalancedListener`](crate::BalancedListener). An idle worker has no timer. It works in runtimes of both flavours of
/// `#[tokio::main]` and under `PREFORK=off`.
///
/// ```no_run
/// use std::time::Duration;
///
/// use axum::{Router, routing::get};
/// use prefork_rt::{Worker, hyper::serve, prefork};
/// use tokio::net::UnixListener;
///
/// #[prefork(listen = "unix:/run/app.sock", ready_timeout = "10s")]
/// #[tokio::main]
/// async fn main(worker: Worker, listener: UnixListener) -> std::io::Result<()> {
///     let shutdown = worker.shutdown();
///     // Answers when the worker is told to stop.
///     let wait = get(move || async move {
///         shutdown.clone().await;
///         "good-bye\n"
///     });
///     let app = Router::new().route("/wait", wait);
///     serve(worker, listener, app)
///         .header_timeout(Duration::from_secs(5))
///         .max_connections(1_000)
///         .await
/// }
/// ```
///
/// # Errors
///
/// When awaited: an error of accept(2) that says the listener is of no use any more, and of getrlimit(2).
///
/// # Panics
///
/// As [`Worker::shutdown`] and its future do. When awaited outside a tokio runtime that has its I/O and time drivers enabled.
pub fn serve<L, S>(worker: Worker, listener: L, service: S) -> Serve<L, S> {
    Serve { shutdown: worker.shutdown(), worker, listener, service, bounds: Bounds::default() }
}

/// A server that is ready to be awaited: from [`serve`], whose documentation has an example. Its methods set bounds.
///
/// ```no_run
/// # async fn run(worker: prefork_rt::Worker, listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
/// let server = prefork_rt::hyper::serve(worker, listener, app).max_connections(1_000);
/// println!("{server:?}");
/// server.await
/// # }
/// ```
#[must_use = "a server serves when it is awaited"]
pub struct Serve<L, S> {
    worker: Worker,
    shutdown: Shutdown,
    listener: L,
    service: S,
    bounds: Bounds,
}

impl<L, S> Serve<L, S> {
    /// How long the head of a request may take to come: 10 s by default. It counts from the accept for the first request
    /// of a connection, and from the first byte for a later one. A connection that takes longer is closed.
    ///
    /// For HTTP/2 it bounds the preface of the connection.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(worker: prefork_rt::Worker, listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// // Clients are near.
    /// prefork_rt::hyper::serve(worker, listener, app).header_timeout(Duration::from_secs(5)).await
    /// # }
    /// ```
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.patience.header = timeout;
        self
    }

    /// How many bytes the head of a request may have: 64 KiB by default, and 8 KiB at least. A longer one is answered with
    /// status 431. HTTP/1 reads and writes in pieces of at most this many bytes.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(worker: prefork_rt::Worker, listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// // No client has large cookies.
    /// prefork_rt::hyper::serve(worker, listener, app).max_header_bytes(16 * 1024).await
    /// # }
    /// ```
    pub fn max_header_bytes(mut self, bytes: usize) -> Self {
        self.bounds.header_bytes = bytes;
        self
    }

    /// How long a connection is kept without a request: 75 s by default. Keep it above the idle timeout of a proxy before
    /// this server, because a connection that the server closes may have a request on the way.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(worker: prefork_rt::Worker, listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// // The load balancer keeps idle connections for 600 s.
    /// prefork_rt::hyper::serve(worker, listener, app).idle_timeout(Duration::from_secs(620)).await
    /// # }
    /// ```
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.patience.idle = timeout;
        self
    }

    /// How long a connection is kept without a request once the worker was told to stop: 2 s by default. It counts from
    /// the stop or the last answer, whichever is later. Of clients that send requests more often, none loses one. It is
    /// never more than half of the option `graceful_timeout`, so that no worker is killed for connections that were idle at the stop.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(worker: prefork_rt::Worker, listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// // A client polls every five seconds.
    /// prefork_rt::hyper::serve(worker, listener, app).drain_idle_timeout(Duration::from_secs(6)).await
    /// # }
    /// ```
    pub fn drain_idle_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.patience.drain = timeout;
        self
    }

    /// How many connections this worker may have, upgraded ones included; at least 1. By default three quarters of the
    /// descriptors that it may still open when it begins to serve (RLIMIT_NOFILE without those that are open): the last
    /// quarter is for what the answers open, such as files and connections to a database.
    ///
    /// Where there are this many and another client comes, the connection is closed that has waited for its client for the
    /// longest: idle, before the end of a request's head, or with the end of an answer that the client has yet to take. Where
    /// all are busy, the worker accepts no more until one is not; clients wait in the queue, from which other workers take
    /// them.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(worker: prefork_rt::Worker, listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// // What a load test has shown to be possible.
    /// prefork_rt::hyper::serve(worker, listener, app).max_connections(10_000).await
    /// # }
    /// ```
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.bounds.connections = Some(connections);
        self
    }

    /// How many requests a client of HTTP/2 may have in flight on one connection: 200 by default.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(worker: prefork_rt::Worker, listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// // Each request takes much memory.
    /// prefork_rt::hyper::serve(worker, listener, app).max_http2_streams(50).await
    /// # }
    /// ```
    pub fn max_http2_streams(mut self, streams: u32) -> Self {
        self.bounds.http2_streams = streams;
        self
    }

    /// How many requests a client of HTTP/2 may have taken back before this server has looked at them: 20 by default. A
    /// connection with more is closed (the attack "rapid reset", CVE-2023-44487).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(worker: prefork_rt::Worker, listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// // The clients are ours, and often change their minds.
    /// prefork_rt::hyper::serve(worker, listener, app).max_http2_pending_resets(100).await
    /// # }
    /// ```
    pub fn max_http2_pending_resets(mut self, resets: usize) -> Self {
        self.bounds.http2_pending_resets = resets;
        self
    }
}

/// What it resolves to is an error only where the listener is of no use any more: see [`serve`].
impl<L, S, B> IntoFuture for Serve<L, S>
where
    L: Listener,
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Serve { worker, mut shutdown, listener, service, mut bounds } = self;
            bounds.patience = bounds.patience.within(graceful_timeout());
            let http = Arc::new(bounds.http());
            let connections = Arc::new(Connections::new(bounds.patience, bounds.connections()?));
            worker.ready();
            let accepting = Arc::clone(&connections);
            let accepted = accept_until_stopped(listener, &mut shutdown, &connections, move |stream, open| {
                let link = accepting.add();
                let socket = Socket::new(stream, open, Arc::clone(&link));
                tokio::spawn(connection::serve(Arc::clone(&http), socket, link, service.clone()));
            });
            let result = accepted.await;
            drain(&connections).await;
            result
        })
    }
}

impl<L: fmt::Debug, S> fmt::Debug for Serve<L, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Serve { worker, shutdown: _, listener, service: _, bounds } = self;
        let mut serve = formatter.debug_struct("Serve");
        serve.field("worker", worker).field("listener", listener).field("bounds", bounds).finish_non_exhaustive()
    }
}
