//! A blocking HTTP server without a runtime: a thread for each connection, on the standard library.
//!
//! `cargo run --example blocking`, then `curl -v http://127.0.0.1:8080/`. `kill -HUP` the supervisor while clients ask:
//! none of them sees a failure.
//!
//! At the stop the worker accepts no more; each answer says `Connection: close`, so that clients move to another worker;
//! and a connection is closed when it was idle for two more seconds, never at once: a request could be on its way.
//! It reads no bodies. A service for strangers also bounds the number of its threads, and takes a crate to read HTTP.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use prefork_rt::{Shutdown, Worker, prefork};

/// How long a connection may be idle, and after the stop.
const IDLE: (u16, u16) = (60_000, 2_000);
/// How long a client may take for the rest of its request, or for the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where a client cannot be accepted, for want of descriptors for example, the next try is this much later.
const RETRY: Duration = Duration::from_millis(100);
/// The longest head of a request.
const HEAD: u64 = 16 << 10;

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    let shutdown = worker.shutdown();
    // One listener is shared by all workers, so none may block on it: another may have taken the connection.
    listener.set_nonblocking(true)?;
    worker.ready();
    // The scope ends when the threads of all connections have ended.
    thread::scope(|connections| {
        let listener = listener;
        loop {
            wait(&listener, Some(&shutdown), PollTimeout::NONE);
            if shutdown.is_requested() {
                return;
            }
            match listener.accept() {
                Ok((client, _)) => drop(connections.spawn(|| serve(worker, client, &shutdown))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => thread::sleep(RETRY),
            }
        }
    });
    Ok(())
}

fn serve(worker: Worker, client: TcpStream, shutdown: &Shutdown) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut requests = BufReader::new(&client);
    while !requests.buffer().is_empty()
        || wait(&client, Some(shutdown), IDLE.0.into())
        || shutdown.is_requested() && wait(&client, None, IDLE.1.into())
    {
        let Some(mut stays) = read_head(&mut requests)? else { break };
        stays &= !shutdown.is_requested();
        let body = format!("hello from worker {}, pid {}\n", worker.task_id(), std::process::id());
        let (length, connection) = (body.len(), if stays { "keep-alive" } else { "close" });
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n");
        (&client).write_all((head + &body).as_bytes())?;
        if !stays {
            break;
        }
    }
    Ok(())
}

/// Reads the head of a request and says whether the client keeps the connection; `None` at the end of the connection.
fn read_head(requests: &mut impl BufRead) -> io::Result<Option<bool>> {
    let (mut head, mut line, mut stays) = (requests.take(HEAD), String::new(), true);
    while head.read_line(&mut line)? > 0 {
        let said = line.trim_end().to_ascii_lowercase();
        if said.is_empty() {
            return Ok(Some(stays));
        }
        stays &= said != "connection: close" && !said.ends_with(" http/1.0");
        line.clear();
    }
    Ok(None)
}

/// Waits for input or the stop, at most `milliseconds`, and says whether there is input.
fn wait(socket: &impl AsFd, shutdown: Option<&Shutdown>, milliseconds: PollTimeout) -> bool {
    let mut both = vec![PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    both.extend(shutdown.map(|shutdown| PollFd::new(shutdown.as_fd(), PollFlags::POLLIN)));
    while poll(&mut both, milliseconds) == Err(Errno::EINTR) {}
    both[0].any().unwrap_or(false)
}
