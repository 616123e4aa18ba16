//! No request is lost while the pool is reloaded under load.

use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::Serving;
use crate::support::http::{Client, Seen, assert_all_answered, keep_alive, keep_alive_by, under_load};
use crate::support::pool::Files;
use crate::support::session::Session;
use crate::support::{DEADLINE, Signal, fixture, until};

const RELOADS: usize = 5;
const CONNECTIONS: usize = 32;
const ANSWERS_PER_RELOAD: usize = 4_000;

/// Reloads again and again under the load of these clients, each time after as many answers, and returns what they saw.
fn reload_under(program: &Session, clients: &[Client<'_>], address: SocketAddr) -> Seen {
    under_load(clients, address, |seen| {
        for reload in 1..=RELOADS {
            program.signal(Signal::SIGHUP);
            program.stderr.wait_for_nth(": 2 workers were replaced", reload);
            until("clients have their answers, or one has failed", || {
                let has_failed = !seen.failures.lock().unwrap().is_empty();
                let answers = seen.answers.load(Ordering::Relaxed);
                (has_failed || answers >= reload * ANSWERS_PER_RELOAD).then_some(())
            });
        }
    })
}

/// Each request that a worker has counted was answered.
fn assert_none_is_lost(mut program: Session, seen: &Seen) {
    assert_all_answered(seen);
    program.stop();
    assert_eq!(program.stderr.count("killing"), 0, "{:#?}", program.stderr.all());
    program.wait_until_empty();
    let served = program.stdout.all();
    let served =
        served.iter().filter_map(|line| line.split(" served ").nth(1)?.split(' ').next()?.parse::<usize>().ok());
    let (served, answers) = (served.sum::<usize>(), seen.answers.load(Ordering::Relaxed));
    println!("{served} served, {answers} answered, {} connections closed", seen.closed.load(Ordering::Relaxed));
    assert_eq!(served, answers);
}

#[test]
fn no_request_on_a_kept_connection_is_lost_during_reloads() {
    for threads in [&[][..], &[("THREADS", "2")]] {
        let serving = Serving::start(&[threads, &[("PREFORK_WORKERS", "2")]].concat());
        let busy: Client<'_> = &|address, seen| keep_alive(address, Duration::ZERO, seen);
        let now_and_then: Client<'_> = &|address, seen| keep_alive(address, Duration::from_millis(20), seen);
        let clients = [[busy; CONNECTIONS / 2], [now_and_then; CONNECTIONS / 2]].concat();
        let seen = reload_under(&serving.program, &clients, serving.address);
        // Each worker has parted with its clients.
        assert!(seen.closed.load(Ordering::Relaxed) >= CONNECTIONS, "{seen:?}");
        assert_none_is_lost(serving.program, &seen);
    }
}

#[test]
fn no_request_over_a_unix_socket_is_lost_during_reloads() {
    let files = Files::with(&[]);
    let path = files.path("app.sock");
    let mut command = fixture("serving");
    command.env("PREFORK_LISTEN", format!("unix:{}", path.display())).env("UNIX", "1").env("PREFORK_WORKERS", "2");
    let program = Session::start(&mut command);
    program.stderr.wait_for("ready after");
    let connect = || {
        let stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(BufReader::new(stream))
    };
    let client: Client<'_> = &|_, seen| keep_alive_by(connect, Duration::ZERO, seen);
    let seen = reload_under(&program, &[client; CONNECTIONS], ([127, 0, 0, 1], 0).into());
    assert_none_is_lost(program, &seen);
}

#[test]
fn no_request_over_http2_is_lost_during_reloads() {
    let serving = Serving::start(&[("PREFORK_WORKERS", "2")]);
    let client: Client<'_> = &|address, seen| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            while !seen.is_over() {
                if let Err(error) = ask_until_refused(address, seen).await {
                    seen.count(Err(error));
                }
            }
        });
    };
    let seen = reload_under(&serving.program, &[client; 8], serving.address);
    assert!(seen.closed.load(Ordering::Relaxed) >= 8, "{seen:?}");
    assert_none_is_lost(serving.program, &seen);
}

/// Requests on one connection, until the server refuses one: it has said that this connection ends.
async fn ask_until_refused(address: SocketAddr, seen: &Seen) -> io::Result<()> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let connecting = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = connecting.map_err(io::Error::other)?;
    tokio::spawn(connection);
    while !seen.is_over() {
        let request = hyper::Request::get("http://localhost/").body(Empty::<Bytes>::new()).expect("a request");
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            // It was not sent, or refused; where it was served instead, the worker has counted it.
            Err(_) => break,
        };
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        assert!(body.starts_with(b"hello from worker"), "{body:?}");
        seen.count(Ok(()));
    }
    seen.closed.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
