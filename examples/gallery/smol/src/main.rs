//! A service with smol and hyper that loses no request while it is reloaded.
//!
//! `cargo run -p gallery-smol` in the folder `examples/gallery`, then `curl -v http://127.0.0.1:8080/`. `kill -HUP` the
//! supervisor while clients ask: none of them sees a failure (`cargo run -p load 127.0.0.1:8080` is 32 such clients).
//!
//! What a stop needs beyond a plain server: the worker accepts no more; each answer says `Connection: close`, so that
//! clients move to another worker; and a connection is told to end only when its client has had time to do so, because
//! hyper's graceful shutdown closes one that looks idle at once, also when a request is on its way.

use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use prefork_rt::{Shutdown, Worker, prefork};
use smol::channel::{self, Sender};
use smol::future::or;
use smol::{Async, LocalExecutor, Timer};
use smol_hyper::rt::FuturesIo;

/// A connection that was idle for this long when the worker stops is closed.
const IDLE: Duration = Duration::from_secs(2);
/// Where a client cannot be accepted, for want of descriptors for example, the next try is this much later.
const RETRY: Duration = Duration::from_millis(100);

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    let mut shutdown = worker.shutdown();
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = Async::new(listener)?;
        // Each connection has a sender, so that the receiver knows when all have ended.
        let (open, all_closed) = channel::bounded::<Infallible>(1);
        worker.ready();
        loop {
            let stop = async {
                (&mut shutdown).await;
                None
            };
            match or(stop, async { Some(listener.accept().await) }).await {
                None => break,
                Some(Err(_)) => drop(Timer::after(RETRY).await),
                Some(Ok((client, _))) => executor.spawn(serve(client, shutdown.clone(), open.clone())).detach(),
            }
        }
        drop((listener, open));
        let _ = all_closed.recv().await;
        Ok(())
    }))
}

async fn serve(client: Async<TcpStream>, shutdown: Shutdown, _open: Sender<Infallible>) {
    let service = service_fn(|request| hello(request, &shutdown));
    let mut connection = pin!(http1::Builder::new().serve_connection(FuturesIo::new(client), service));
    let stop = async {
        shutdown.clone().await;
        Timer::after(IDLE).await;
        false
    };
    let ended = async {
        let _ = connection.as_mut().await; // what goes wrong is the affair of this client alone
        true
    };
    if !or(stop, ended).await {
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
