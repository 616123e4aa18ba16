//! A service with compio (io_uring) and hyper that loses no request while it is reloaded.
//!
//! `cargo run -p gallery-compio` in the folder `examples/gallery`, then `curl -v http://127.0.0.1:8080/`. `kill -HUP` the
//! supervisor while clients ask: none of them sees a failure (`cargo run -p load 127.0.0.1:8080` is 32 such clients).
//!
//! Each worker makes a runtime, and so a ring, of its own after the fork. What a stop needs beyond a plain server: the
//! worker accepts no more; each answer says `Connection: close`, so that clients move to another worker; and a connection
//! is told to end only when its client has had time to do so, because hyper's graceful shutdown closes one that looks idle
//! at once, also when a request is on its way.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::time::Duration;

use compio::net::TcpStream;
use compio::runtime::fd::PollFd;
use compio::runtime::{JoinHandle, spawn};
use compio::time::sleep;
use cyper_core::HyperStream;
use futures_util::future::{Either, select};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use prefork_rt::{Shutdown, Worker, prefork};

/// A connection that was idle for this long when the worker stops is closed.
const IDLE: Duration = Duration::from_secs(2);
/// Where a client cannot be accepted, for want of descriptors for example, the next try is this much later.
const RETRY: Duration = Duration::from_millis(100);

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
#[compio::main]
async fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    let mut shutdown = worker.shutdown();
    listener.set_nonblocking(true)?;
    let listener = PollFd::new(listener)?;
    let mut connections = Vec::new();
    worker.ready();
    loop {
        // compio's own accept can have taken a client in the moment in which it is cancelled, and then loses it. Waiting
        // for the listener and taking a client are two steps here.
        let accept = poll_fn(|context| listener.poll_accept_with(context, TcpListener::accept));
        match select(&mut shutdown, accept).await {
            Either::Left(_) => break,
            Either::Right((Ok((client, _)), _)) => {
                connections.retain(|connection: &JoinHandle<()>| !connection.is_finished());
                connections.push(spawn(serve(TcpStream::from_std(client)?, shutdown.clone())));
            }
            Either::Right((Err(_), _)) => sleep(RETRY).await,
        }
    }
    drop(listener);
    for connection in connections {
        let _ = connection.await;
    }
    Ok(())
}

async fn serve(client: TcpStream, shutdown: Shutdown) {
    let service = service_fn(|request| hello(request, &shutdown));
    let mut connection = pin!(http1::Builder::new().serve_connection(HyperStream::new_plain(client), service));
    let stop = pin!(async {
        shutdown.clone().await;
        sleep(IDLE).await;
    });
    // What goes wrong on a connection is the affair of this client alone.
    if let Either::Right(_) = select(connection.as_mut(), stop).await {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

async fn hello<B>(_: Request<B>, shutdown: &Shutdown) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = Response::new(Full::from(format!("hello from pid {}\n", std::process::id())));
    if shutdown.is_requested() {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}
