//! An application in Python, imported once and served by four workers that share its memory: gunicorn's `--preload`.
//!
//! `cargo run --release --package gallery-python` in this workspace; it needs Python with its library (Debian's
//! `libpython3-dev`). `curl http://127.0.0.1:8000/item7` shows which worker answers and what it shares, and `/all` what
//! is left of that once Python has read the whole table.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use prefork_rt::{Shutdown, prefork};
use pyo3::ffi::c_str;
use pyo3::prelude::*;

/// Runs once, in the first process.
fn import() -> PyResult<Py<PyModule>> {
    let source = c_str!(include_str!("app.py"));
    Python::attach(|python| Ok(PyModule::from_code(python, source, c"app.py", c"app")?.unbind()))
}

#[prefork(workers = 4, listen = "127.0.0.1:8000", preload = import, max_restarts = "unlimited")]
fn main(task_id: usize, listener: TcpListener, shutdown: Shutdown, app: &Py<PyModule>) -> io::Result<()> {
    // All workers share the listener, so none may block on it: another may have taken the connection.
    listener.set_nonblocking(true)?;
    while !shutdown.is_requested() {
        let mut both = [listener.as_fd(), shutdown.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut both, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        match listener.accept() {
            // A client that goes away in the middle is no reason to end the worker.
            Ok((client, _)) => {
                serve(client, task_id, app).unwrap_or_else(|error| eprintln!("worker {task_id}: {error}"))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Answers one request, as HTTP/1.0: a real service would leave that to hyper.
fn serve(mut client: TcpStream, task_id: usize, app: &Py<PyModule>) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    client.set_write_timeout(Some(Duration::from_secs(5)))?;
    // SIGTERM interrupts a read that has a timeout; this one goes on, as the client must have its answer.
    let mut request = String::new();
    BufReader::new((&client).take(8192)).read_line(&mut request)?;
    let path = request.split(' ').nth(1).unwrap_or("/");
    let text = ask(app, path).unwrap_or_else(|error| error.to_string());
    write!(client, "HTTP/1.0 200 OK\r\n\r\nworker {task_id} (pid {}): {text}; {}\n", process::id(), memory())
}

/// Calls the application.
fn ask(app: &Py<PyModule>, path: &str) -> PyResult<String> {
    Python::attach(|python| app.bind(python).getattr("answer")?.call1((path,))?.extract())
}

/// What this process shares with the others and what it has alone.
fn memory() -> String {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let sum = |prefix: &str| -> usize {
        let lines = rollup.lines().filter(|line| line.starts_with(prefix));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok()).sum()
    };
    format!("{} MiB shared with the others, {} MiB of its own", sum("Shared_") >> 10, sum("Private_") >> 10)
}
