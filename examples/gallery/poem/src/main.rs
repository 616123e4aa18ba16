//! A service with poem that loses no request while it is reloaded.
//!
//! `cargo run -p gallery-poem` in the folder `examples/gallery`, then `curl -v http://127.0.0.1:8080/`. `kill -HUP` the
//! supervisor while clients ask: none of them sees a failure (`cargo run -p load 127.0.0.1:8080` is 32 such clients).
//!
//! What a stop needs beyond a plain server: each answer says `Connection: close`, so that clients move to another worker,
//! and poem is told only when connections have had time to do so, because its graceful shutdown closes those that look
//! idle at once, also one on which a request is just on its way.

use std::io;
use std::time::Duration;

use poem::http::{HeaderValue, header};
use poem::listener::TcpAcceptor;
use poem::{EndpointExt, Route, Server, get, handler};
use prefork_rt::{Worker, prefork};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// A connection that was idle for this long when the worker stops is closed.
const IDLE: Duration = Duration::from_secs(2);

#[handler]
fn hello() -> String {
    format!("hello from pid {}\n", std::process::id())
}

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    let shutdown = worker.shutdown();
    let stop = shutdown.clone();
    let app = Route::new().at("/", get(hello)).map_to_response().after(move |answer| {
        let stops = stop.is_requested();
        async move {
            let mut answer = answer?;
            if stops {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            poem::Result::Ok(answer)
        }
    });
    let drained = async {
        shutdown.await;
        sleep(IDLE).await;
    };
    worker.ready();
    Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?).run_with_graceful_shutdown(app, drained, None).await
}
