//! Clients of the example `http`, which ask again and again and keep account of what they see.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::{DEADLINE, SetAtEnd, until};

/// The server's `drain_idle_timeout`: who is silent for longer may find the connection closed.
const DRAIN: Duration = Duration::from_secs(2);

/// Builds the example `http` where this test was built, and says where it is.
pub fn http() -> &'static Path {
    static HTTP: OnceLock<PathBuf> = OnceLock::new();
    HTTP.get_or_init(|| {
        let test = std::env::current_exe().expect("a path");
        let target = test.ancestors().nth(3).expect("TARGET/debug/deps/TEST");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "http", "--target-dir"]).arg(target);
        assert!(cargo.status().expect("cargo").success(), "the example is not built");
        target.join("debug/examples/http")
    })
}

/// What all clients together have seen.
#[derive(Debug, Default)]
pub struct Seen {
    over: AtomicBool,
    pub answers: AtomicUsize,
    /// Connections that the server closed with its last answer, as it said.
    pub closed: AtomicUsize,
    pub failures: Mutex<Vec<String>>,
    /// With which words answers begin.
    pub words: Mutex<BTreeSet<String>>,
}

impl Seen {
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Asks again and again, in the way given, which returns the word of the answer.
    pub fn repeat(&self, ask: impl Fn() -> io::Result<String>) {
        while !self.over.load(Ordering::Relaxed) {
            let word = ask();
            self.words.lock().unwrap().extend(word.as_ref().ok().cloned());
            self.count(word.map(drop));
        }
    }

    fn is_heard(&self) -> bool {
        self.answers.load(Ordering::Acquire) > 0 || !self.failures.lock().unwrap().is_empty()
    }

    pub fn count(&self, result: io::Result<()>) {
        match result {
            Ok(()) => drop(self.answers.fetch_add(1, Ordering::Release)),
            Err(error) => self.failures.lock().unwrap().push(error.to_string()),
        }
    }
}

pub fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(DEADLINE))?;
    connection.set_nodelay(true)?;
    Ok(BufReader::new(connection))
}

/// One request and its answer. Says whether the server goes on with this connection.
pub fn ask<S: Read + Write>(connection: &mut BufReader<S>, header: &str, seen: &Seen) -> io::Result<bool> {
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
    match String::from_utf8_lossy(&body).split_once(" from worker ") {
        Some((word, _)) => drop(seen.words.lock().unwrap().insert(word.to_owned())),
        None => return Err(io::Error::other(format!("{body:?}"))),
    }
    Ok(stays)
}

pub fn connection_per_request(address: SocketAddr, seen: &Seen) {
    while !seen.over.load(Ordering::Relaxed) {
        seen.count(
            connect(address).and_then(|mut connection| ask(&mut connection, "Connection: close\r\n", seen)).map(drop),
        );
    }
}

/// Requests follow each other after `pause`; a connection that the server said it would close is left. Where the machine
/// kept this client or the server from running for longer than DRAIN, a request on a kept connection is tried again.
pub fn keep_alive(address: SocketAddr, pause: Duration, seen: &Seen) {
    keep_alive_by(|| connect(address), pause, seen);
}

/// As [`keep_alive`], on connections of any kind.
pub fn keep_alive_by<S: Read + Write>(connect: impl Fn() -> io::Result<BufReader<S>>, pause: Duration, seen: &Seen) {
    let mut kept: Option<(BufReader<S>, Instant)> = None;
    while !seen.over.load(Ordering::Relaxed) {
        let (connection, before) = kept.take().map_or_else(|| (connect(), None), |(c, when)| (Ok(c), Some(when)));
        let now = Instant::now();
        match connection.and_then(|mut connection| Ok((ask(&mut connection, "", seen)?, connection))) {
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

pub type Client<'a> = &'a (dyn Fn(SocketAddr, &Seen) + Sync);

/// What these clients see of the server at this address while something is done to it, after the first answer.
pub fn under_load(clients: &[Client<'_>], address: SocketAddr, something: impl FnOnce(&Seen)) -> Seen {
    let seen = Seen::default();
    thread::scope(|scope| {
        clients.iter().for_each(|client| drop(scope.spawn(|| client(address, &seen))));
        let _over = SetAtEnd(&seen.over);
        until("a client has an answer", || seen.is_heard().then_some(()));
        something(&seen);
    });
    seen
}

/// The address in a line that says where a program listens.
pub fn address_in(line: &str) -> SocketAddr {
    line.rsplit([' ', '=']).next().and_then(|address| address.parse().ok()).expect("an address")
}

pub fn thousands(seen: &Seen) -> bool {
    seen.answers.load(Ordering::Relaxed) > 2000
}

pub fn assert_all_answered(seen: &Seen) {
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{} answers", seen.answers.load(Ordering::Relaxed));
}
