//! A load for HTTP/1.1 servers: 32 clients that keep their connections and try nothing twice.
//!
//! `cargo run -p load 127.0.0.1:8080`, and Ctrl-D ends it. It prints `requests N failed M moved K`: how many requests were
//! sent, how many of them had no whole answer, and how many answers said `Connection: close`, after which a client
//! connects anew, as clients do. Each failure has a line on standard error.
//!
//! A quarter of the clients asks without a pause, a quarter every millisecond, a quarter every 20 ms, and the rest thinks for
//! 0.2 to 1.2 s, as people do: a server that closes connections which look idle loses the requests of these.

use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: u64 = 32;
/// No answer takes as long on a machine that is not broken.
const DEADLINE: Duration = Duration::from_secs(60);

static OVER: AtomicBool = AtomicBool::new(false);
static REQUESTS: AtomicUsize = AtomicUsize::new(0);
static FAILED: AtomicUsize = AtomicUsize::new(0);
static MOVED: AtomicUsize = AtomicUsize::new(0);

fn main() {
    let address: SocketAddr = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("an address");
    thread::scope(|scope| {
        (0..CLIENTS).for_each(|client| drop(scope.spawn(move || ask_again_and_again(address, client))));
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        OVER.store(true, Relaxed);
    });
    println!("requests {} failed {} moved {}", REQUESTS.load(Relaxed), FAILED.load(Relaxed), MOVED.load(Relaxed));
}

fn ask_again_and_again(address: SocketAddr, client: u64) {
    let began = Instant::now();
    let mut kept = None;
    for round in 1.. {
        thread::sleep(Duration::from_millis(match client % 4 {
            0 => 0,
            1 => 1,
            2 => 20,
            _ => 200 + (client * 7919 + round * 104_729) % 1000,
        }));
        if OVER.load(Relaxed) {
            return;
        }
        let is_kept = kept.is_some();
        let answer = kept.take().map_or_else(|| connect(address), Ok).and_then(ask);
        REQUESTS.fetch_add(1, Relaxed);
        match answer {
            Ok(Some(connection)) => kept = Some(connection),
            Ok(None) => drop(MOVED.fetch_add(1, Relaxed)),
            Err(error) => {
                FAILED.fetch_add(1, Relaxed);
                let connection = if is_kept { "a kept connection" } else { "a new connection" };
                eprintln!("{:?}: client {client} on {connection}: {error}", began.elapsed());
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(DEADLINE))?;
    connection.set_nodelay(true)?;
    Ok(BufReader::new(connection))
}

/// One request and its answer; returns the connection where the server keeps it.
fn ask(mut connection: BufReader<TcpStream>) -> io::Result<Option<BufReader<TcpStream>>> {
    connection.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(Error::other(format!("{line:?} instead of an answer")));
    }
    let (mut length, mut stays) = (None, true);
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok(),
            Some(("connection", value)) => stays = value != "close",
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length.ok_or_else(|| Error::other("an answer without Content-Length"))?];
    connection.read_exact(&mut body)?;
    Ok(stays.then_some(connection))
}
