//! No request to the example `http` fails while it is reloaded, again and again.
//!
//! On a connection that is kept, a client that has been silent for longer than the example's DRAIN and asks in the very
//! moment in which the server closes it may find it closed: HTTP has no word for that, and clients try again (RFC 9112,
//! 9.3.1). The clients here ask more often, unless the machine keeps them from it.

mod support;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::session::Session;
use support::{DEADLINE, SetAtEnd, Signal, clean_command};

const RELOADS: usize = 5;
/// The example's: who is silent for longer may find the connection closed.
const DRAIN: Duration = Duration::from_millis(500);

/// Builds the example where this test was built.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("a path");
    let target = test.ancestors().nth(3).expect("TARGET/debug/deps/TEST");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", name, "--target-dir"]).arg(target);
    assert!(cargo.status().expect("cargo").success(), "the example is not built");
    let path: PathBuf = [target.as_os_str(), "debug".as_ref(), "examples".as_ref(), name.as_ref()].iter().collect();
    clean_command(path.to_str().expect("text"))
}

/// What all clients together have seen.
#[derive(Debug, Default)]
struct Seen {
    over: AtomicBool,
    answers: AtomicUsize,
    /// Connections that the server closed with its last answer, as it said.
    closed: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Seen {
    fn count(&self, result: io::Result<()>) {
        match result {
            Ok(()) => drop(self.answers.fetch_add(1, Ordering::Relaxed)),
            Err(error) => self.failures.lock().unwrap().push(error.to_string()),
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(DEADLINE))?;
    connection.set_nodelay(true)?;
    Ok(BufReader::new(connection))
}

/// One request and its answer. Says whether the server goes on with this connection.
fn ask(connection: &mut BufReader<TcpStream>, header: &str) -> io::Result<bool> {
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
    connection.get_mut().write_all(request.as_bytes())?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("{line:?} for an answer")));
    }
    let (mut length, mut stays) = (0, true);
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
            Some(("connection", value)) => stays = value != "close",
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    if !body.starts_with(b"hello from worker ") {
        return Err(io::Error::other(format!("{body:?}")));
    }
    Ok(stays)
}

fn connection_per_request(address: SocketAddr, seen: &Seen) {
    while !seen.over.load(Ordering::Relaxed) {
        seen.count(connect(address).and_then(|mut connection| ask(&mut connection, "Connection: close\r\n")).map(drop));
    }
}

/// Requests follow each other after `pause`; a connection that the server said it would close is left. Where the machine
/// kept this client or the server from running for longer than DRAIN, a request on a kept connection is tried again.
fn keep_alive(address: SocketAddr, pause: Duration, seen: &Seen) {
    let mut kept: Option<(BufReader<TcpStream>, Instant)> = None;
    while !seen.over.load(Ordering::Relaxed) {
        let (connection, before) =
            kept.take().map_or_else(|| (connect(address), None), |(c, when)| (Ok(c), Some(when)));
        let now = Instant::now();
        match connection.and_then(|mut connection| Ok((ask(&mut connection, "")?, connection))) {
            Ok((stays, connection)) => {
                seen.count(Ok(()));
                kept = Some((connection, now)).filter(|_| stays);
                seen.closed.fetch_add(usize::from(!stays), Ordering::Relaxed);
            }
            Err(_) if before.is_some_and(|before| before.elapsed() > DRAIN) => continue,
            Err(error) => seen.count(Err(error)),
        }
        thread::sleep(pause);
    }
}

type Client<'a> = &'a (dyn Fn(SocketAddr, &Seen) + Sync);

/// Reloads under the load of these clients until they have seen enough, and returns what they saw.
fn reload_under(clients: &[Client<'_>], style: &str, is_enough: impl Fn(&Seen) -> bool) -> Seen {
    let mut command = example("http");
    command.env("PREFORK_LISTEN", "127.0.0.1:0").env("PREFORK_WORKERS", "2").env("PREFORK_RELOAD", style);
    let mut program = Session::start(&mut command);
    let line = program.stderr.wait_for("listening on ");
    let address: SocketAddr = line.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address");
    program.stderr.wait_for("ready after");
    let seen = Seen::default();
    thread::scope(|scope| {
        clients.iter().for_each(|client| drop(scope.spawn(|| client(address, &seen))));
        let _over = SetAtEnd(&seen.over);
        // Clients that see a failure are not asked for more.
        let is_over = |seen: &Seen| is_enough(seen) || !seen.failures.lock().unwrap().is_empty();
        for reload in 1.. {
            program.signal(Signal::SIGHUP);
            program.stderr.wait_for_nth(": 2 workers were replaced", reload);
            if reload >= RELOADS && is_over(&seen) {
                break;
            }
        }
    });
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stderr.count("killing"), 0, "{:#?}", program.stderr.all());
    program.wait_until_empty();
    seen
}

fn thousands(seen: &Seen) -> bool {
    seen.answers.load(Ordering::Relaxed) > 2000
}

fn assert_all_answered(seen: &Seen) {
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{} answers", seen.answers.load(Ordering::Relaxed));
}

#[test]
fn no_request_on_a_connection_of_its_own_fails_during_reloads() {
    for style in ["overlap", "exclusive"] {
        let client: Client<'_> = &connection_per_request;
        assert_all_answered(&reload_under(&[client; 8], style, thousands));
    }
}

#[test]
fn no_request_on_a_kept_connection_fails_during_reloads() {
    for style in ["overlap", "exclusive"] {
        let busy: Client<'_> = &|address, seen| keep_alive(address, Duration::ZERO, seen);
        let now_and_then: Client<'_> = &|address, seen| keep_alive(address, Duration::from_millis(20), seen);
        // The server has said good-bye to each of them, and more than once.
        let parted = |seen: &Seen| seen.closed.load(Ordering::Relaxed) > 16;
        let clients = [[busy; 4], [now_and_then; 4]].concat();
        assert_all_answered(&reload_under(&clients, style, |seen| thousands(seen) && parted(seen)));
    }
}
