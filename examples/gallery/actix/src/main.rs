//! A service with actix-web that loses no request while it is reloaded.
//!
//! `cargo run -p gallery-actix` in the folder `examples/gallery`, then `curl -v http://127.0.0.1:8080/`. `kill -HUP` the
//! supervisor while clients ask: none of them sees a failure (`cargo run -p load 127.0.0.1:8080` is 32 such clients).
//!
//! What a stop needs beyond a plain server: actix-web is paused, so that it accepts no more; each answer says
//! `Connection: close`, so that clients move to another worker; and actix-web is stopped only when they have had time to
//! do so, because its graceful stop closes connections that look idle at once, also one on which a request is on its way.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Service as _;
use actix_web::http::ConnectionType;
use actix_web::rt::time::sleep;
use actix_web::{App, HttpServer, get, rt};
use prefork_rt::{Worker, prefork};

/// A connection that was idle for this long when the worker stops is closed.
const IDLE: Duration = Duration::from_secs(2);

#[get("/")]
async fn hello() -> String {
    format!("hello from pid {}\n", std::process::id())
}

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
#[actix_web::main]
async fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    let shutdown = worker.shutdown();
    let stop = shutdown.clone();
    let app = move || {
        let stop = stop.clone();
        App::new().service(hello).wrap_fn(move |request, service| {
            let (stop, answer) = (stop.clone(), service.call(request));
            async move {
                let mut answer = answer.await?;
                if stop.is_requested() {
                    answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                }
                Ok(answer)
            }
        })
    };
    // One thread: prefork's workers are the processes. Signals are prefork's, too.
    let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(20).listen(listener)?.run();
    let handle = server.handle();
    rt::spawn(async move {
        shutdown.await;
        handle.pause().await;
        sleep(IDLE).await;
        handle.stop(true).await;
    });
    worker.ready();
    server.await
}
