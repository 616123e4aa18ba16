//! A blocking echo server: one connection at a time in each of four workers.
//!
//! `cargo run --example tcp_echo`, then `nc 127.0.0.1 7777`. Ctrl-C, or `kill` the supervisor: no client is let in any
//! more, what a client has sent is still answered, and one that has nothing to say keeps no worker from returning, nor
//! for longer than a minute from the next client.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use prefork_rt::{Shutdown, Worker, prefork};

/// How long a client may be silent, or take nothing, while others wait for this worker.
const PATIENCE: Duration = Duration::from_secs(60);

// As in the example `http`, no client that crashes workers can end the service: the number of restarts has no limit.
#[prefork(workers = 4, listen = "127.0.0.1:7777", ready_timeout = "10s", max_restarts = "unlimited")]
fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    let shutdown = worker.shutdown();
    // One listener is shared by all workers, so none may block on it: another may have taken the connection.
    listener.set_nonblocking(true)?;
    worker.ready();
    while wait_for_input(&listener, &shutdown, PollTimeout::NONE)? && !shutdown.is_requested() {
        let (connection, client) = match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            accepted => accepted?,
        };
        println!("worker {} talks to {client}", worker.task_id());
        // A client that goes away in the middle is no reason to end the worker.
        if let Err(error) = echo(connection, &shutdown) {
            println!("worker {}: {error}", worker.task_id());
        }
    }
    Ok(())
}

/// Echoes until the client has sent everything, is silent for too long, or the worker has to stop.
fn echo(mut connection: TcpStream, shutdown: &Shutdown) -> io::Result<()> {
    connection.set_nonblocking(false)?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let patience = PollTimeout::try_from(PATIENCE).expect("a minute is not too long");
    let mut buffer = [0; 4096];
    while wait_for_input(&connection, shutdown, patience)? {
        match connection.read(&mut buffer)? {
            0 => break,
            count => connection.write_all(&buffer[..count])?,
        }
    }
    Ok(())
}

/// Waits for input, the time to stop, or as long as it is told to, and says whether there is input.
fn wait_for_input(socket: &impl AsFd, shutdown: &Shutdown, patience: PollTimeout) -> io::Result<bool> {
    let mut both = [socket.as_fd(), shutdown.as_fd()].map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
    while let Err(error) = poll(&mut both, patience) {
        // A signal came: perhaps the one to stop.
        if error != Errno::EINTR {
            return Err(error.into());
        }
    }
    Ok(both[0].any().unwrap_or(false))
}
