//! A service with ntex that loses no request while it is reloaded.
//!
//! `cargo run -p gallery-ntex` in the folder `examples/gallery`, then `curl -v http://127.0.0.1:8080/`. `kill -HUP` the
//! supervisor while clients ask: none of them sees a failure (`cargo run -p load 127.0.0.1:8080` is 32 such clients).
//!
//! `ntex::web::HttpServer` cannot promise that: a connection that it accepts in the moment in which it is paused or
//! stopped gets lost between its threads. So the worker accepts connections itself. At the stop it accepts no more; each
//! answer says `Connection: close`, so that clients move to another worker; and ntex is told only when they have had time
//! to do so, because it then closes connections that look idle at once, also one on which a request is on its way.

use std::io;
use std::time::Duration;

use ntex::http::{ConnectionType, HttpService};
use ntex::io::Io;
use ntex::service::{Pipeline, ServiceFactory, fn_layer};
use ntex::web::{self, App, WebRequest, WebResponse};
use ntex::{SharedCfg, rt, time::sleep};
use prefork_rt::{Worker, prefork};
use tokio::net::TcpListener; // with ntex's cargo feature `tokio`

/// A connection that was idle for this long when the worker stops is closed.
const IDLE: Duration = Duration::from_secs(2);
/// Where a client cannot be accepted, for want of descriptors for example, the next try is this much later.
const RETRY: Duration = Duration::from_millis(100);

#[web::get("/")]
async fn hello() -> String {
    format!("hello from pid {}\n", std::process::id())
}

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
#[ntex::main]
async fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    let mut shutdown = worker.shutdown();
    let stop = shutdown.clone();
    let last_answers = fn_layer(async move |request: WebRequest<_>, service| {
        let mut answer: WebResponse = service.call(request).await?;
        if stop.is_requested() {
            answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        Ok::<_, web::Error>(answer)
    });
    let app = App::new().middleware(last_answers).service(hello);
    let config = SharedCfg::default();
    let service = HttpService::new(app).create(config.clone()).await.map_err(|_| io::Error::other("no service"))?;
    let service = Pipeline::new(service);
    worker.ready();
    loop {
        tokio::select! {
            _ = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let client = rt::from_tcp_stream(client.into_std()?, config.clone())?;
                    rt::spawn(service.call_static(client));
                }
                Err(_) => sleep(RETRY).await,
            },
        }
    }
    drop(listener);
    sleep(IDLE).await;
    service.shutdown::<Io>().await;
    Ok(())
}
