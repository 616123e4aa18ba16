//! Traces of all workers, to standard error and to one file, which each of them opens again on SIGUSR1.
//!
//! `cargo run -p gallery-tracing` in the folder `examples/gallery`, and `tail -F /tmp/prefork.log`. Move the file away and
//! `kill -USR1` the supervisor, as logrotate does: the supervisor passes the signal on to all workers, and they go on in
//! a new file.
//!
//! The subscriber is made in the body: each worker has a file of its own to reopen. The lines of prefork itself come from the
//! supervisor, and go to standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prefork_rt::{Shutdown, Worker, prefork};
use signal_hook::consts::SIGUSR1;
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{fmt, registry};

/// A log file that is opened again before the next line when the flag is set.
struct LogFile {
    path: String,
    file: File,
    reopen: Arc<AtomicBool>,
}

impl LogFile {
    fn open(path: String, reopen: Arc<AtomicBool>) -> io::Result<Self> {
        let file = append(&path)?;
        Ok(LogFile { path, file, reopen })
    }
}

impl Write for LogFile {
    /// An event is one call, and so, with O_APPEND, a line that those of other workers do not tear apart.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.reopen.swap(false, Ordering::Relaxed) {
            self.file = append(&self.path)?;
        }
        self.file.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &str) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[prefork(workers = 2)]
fn main(worker: Worker, shutdown: Shutdown) -> io::Result<()> {
    let reopen = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGUSR1, Arc::clone(&reopen))?;
    let path = std::env::args().nth(1).unwrap_or_else(|| "/tmp/prefork.log".to_owned());
    let file = LogFile::open(path, reopen)?;
    registry()
        // First, because the layers share the text of a span, which the first of them writes: here without colours.
        .with(fmt::layer().with_ansi(false).with_writer(Mutex::new(file)))
        .with(fmt::layer().with_writer(io::stderr))
        .init();
    let _worker = info_span!("worker", id = worker.task_id(), pid = std::process::id()).entered();
    info!("starts");
    for job in 1.. {
        if shutdown.wait_timeout(Duration::from_millis(500)) {
            break;
        }
        info!(job, "done");
    }
    info!("stops");
    Ok(())
}
