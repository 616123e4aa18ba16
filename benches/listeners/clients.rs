//! The clients, which are this process, on the same CPUs: they use them as much as the servers do.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::contenders::{BODY, NUMBER, REQUEST, Server};

/// Requests in a second, and the time that one in a hundred takes longer than.
#[derive(Clone, Copy)]
pub struct Sample {
    pub rate: f64,
    pub p99: f64,
}

/// Where each of this many clients has its connection.
#[derive(Clone, Copy)]
pub enum Load {
    Kept(usize),
    New(usize),
}

/// A contender with this many workers, started for this measurement, under this load.
pub fn measure(clients: &Runtime, name: &str, workers: usize, load: Load, length: Duration) -> Sample {
    let server = Server::start(name, workers);
    let address = server.address;
    let start = Instant::now();
    let until = start + length;
    let mut times: Vec<Duration> = clients.block_on(async {
        let tasks: Vec<_> = match load {
            Load::Kept(count) => (0..count).map(|_| tokio::spawn(keep_asking(address, until))).collect(),
            Load::New(count) => (0..count).map(|_| tokio::spawn(ask_anew(address, until))).collect(),
        };
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.expect("no panic").expect("every request is answered"));
        }
        times
    });
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    Sample { rate, p99: times[times.len() * 99 / 100].as_secs_f64() }
}

/// How many of these connections, opened one after another, the busiest worker has.
pub fn busiest(clients: &Runtime, name: &str, workers: usize, connections: usize) -> usize {
    let server = Server::start(name, workers);
    let mut had = BTreeMap::<[u8; NUMBER], usize>::new();
    clients.block_on(async {
        let mut open = Vec::new();
        for _ in 0..connections {
            let mut connection = connect(server.address).await.expect("a connection");
            *had.entry(ask(&mut connection).await.expect("an answer")).or_default() += 1;
            open.push(connection);
        }
    });
    had.into_values().max().unwrap_or(0)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// Which worker answers.
async fn ask(connection: &mut TcpStream) -> io::Result<[u8; NUMBER]> {
    connection.write_all(REQUEST).await?;
    let (mut answer, mut length) = ([0; 1024], 0);
    loop {
        match connection.read(&mut answer[length..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
        let head = answer[..length].windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(body) = head.map(|end| &answer[end + 4..length]).filter(|body| body.len() == BODY) {
            return Ok(*body.first_chunk().expect("it is longer"));
        }
    }
}

async fn keep_asking(address: SocketAddr, until: Instant) -> io::Result<Vec<Duration>> {
    let mut connection = connect(address).await?;
    let mut times = Vec::new();
    while Instant::now() < until {
        let start = Instant::now();
        ask(&mut connection).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

async fn ask_anew(address: SocketAddr, until: Instant) -> io::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let start = Instant::now();
        let mut connection = connect(address).await?;
        ask(&mut connection).await?;
        times.push(start.elapsed());
        // Ports would run out if each were kept for a minute.
        socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO))?;
    }
    Ok(times)
}
