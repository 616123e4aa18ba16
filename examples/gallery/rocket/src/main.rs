//! A service with Rocket that loses no request while it is reloaded.
//!
//! `cargo run -p gallery-rocket` in the folder `examples/gallery`, then `curl -v http://127.0.0.1:8080/`. `kill -HUP` the
//! supervisor while clients ask: none of them sees a failure (`cargo run -p load 127.0.0.1:8080` is 32 such clients).
//!
//! Rocket 0.5 takes no listener that is open already, so that several processes cannot serve one address with it. Here
//! each worker's Rocket listens on a port of its own on the loopback interface, and the worker passes on the bytes of the
//! connections that it accepts. Rocket sees the loopback interface as the address of its clients.
//!
//! At the stop the worker accepts no more; each answer says `Connection: close`, so that clients move to another worker;
//! and Rocket is told when all have done so, after 2 s at the latest, because it closes idle connections at once.

use std::net::Ipv4Addr;
use std::time::Duration;

use prefork_rt::{Worker, prefork};
use rocket::fairing::AdHoc;
use rocket::tokio::net::{TcpListener, TcpStream};
use rocket::tokio::sync::oneshot;
use rocket::tokio::task::JoinSet;
use rocket::tokio::time::{sleep, timeout};
use rocket::tokio::{io, select, spawn};
use rocket::{Config, Shutdown, config, get, routes};

/// A connection that was idle for this long when the worker stops is closed.
const IDLE: Duration = Duration::from_secs(2);
/// Where a client cannot be accepted, for want of descriptors for example, the next try is this much later.
const RETRY: Duration = Duration::from_millis(100);

#[get("/")]
fn hello() -> String {
    format!("hello from pid {}\n", std::process::id())
}

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
#[rocket::main]
async fn main(worker: Worker, listener: TcpListener) -> Result<(), Box<dyn std::error::Error>> {
    let shutdown = worker.shutdown();
    let stop = shutdown.clone();
    let (sender, port) = oneshot::channel();
    // The signals are prefork's.
    let signals = config::Shutdown { ctrlc: false, signals: [].into(), ..config::Shutdown::default() };
    let config = Config { address: Ipv4Addr::LOCALHOST.into(), port: 0, shutdown: signals, ..Config::default() };
    let rocket = rocket::custom(config)
        .mount("/", routes![hello])
        .attach(AdHoc::on_response("last answers", move |_, answer| {
            let stops = stop.is_requested();
            Box::pin(async move {
                if stops {
                    answer.set_raw_header("Connection", "close");
                }
            })
        }))
        .attach(AdHoc::on_liftoff("port", |rocket| {
            let _ = sender.send(rocket.config().port);
            Box::pin(async {})
        }))
        .ignite()
        .await?;
    let end = rocket.shutdown();
    let server = spawn(rocket.launch());
    let port = port.await?;
    worker.ready();
    relay(listener, port, shutdown, end).await;
    server.await??;
    Ok(())
}

/// Passes connections on to Rocket until the stop, then lets them end, and tells Rocket to end.
async fn relay(listener: TcpListener, port: u16, mut shutdown: prefork_rt::Shutdown, end: Shutdown) {
    let mut connections = JoinSet::new();
    loop {
        select! {
            _ = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => drop(connections.spawn(pass_on(client, port))),
                Err(_) => sleep(RETRY).await,
            },
        }
    }
    drop(listener);
    let _ = timeout(IDLE, async { while connections.join_next().await.is_some() {} }).await;
    end.notify();
    while connections.join_next().await.is_some() {}
}

async fn pass_on(mut client: TcpStream, port: u16) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}
