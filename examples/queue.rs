//! A queue consumer: each worker has the partition of its task id, and a replacement goes on where the last one stopped.
//!
//! `cargo run --example queue`, then `kill -9` a worker, or `kill -HUP` the supervisor: no job of a partition is left out,
//! none is done by two workers at once, and only the job that a killed worker had in hand is done again. Each partition's
//! place is a file in the directory `prefork-queue` among the temporary files, or in that of the first argument.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use prefork_rt::{Shutdown, Worker, prefork};

/// The partitions of the queue. Their number stays when workers come and go: a job belongs to one of them for good.
const PARTITIONS: usize = 4;

// "exclusive": in a reload the old worker has ended before the new one starts, so that a partition has one consumer.
#[prefork(workers = PARTITIONS, reload = "exclusive", graceful_timeout = "10s", restart_window = "10m")]
fn main(worker: Worker, shutdown: Shutdown) -> io::Result<()> {
    let partition = worker.task_id();
    if partition >= PARTITIONS {
        return Ok(()); // there are more workers than partitions: this one has finished
    }
    let directory = env::args_os().nth(1).map_or_else(|| env::temp_dir().join("prefork-queue"), PathBuf::from);
    fs::create_dir_all(&directory)?;
    let place = directory.join(format!("partition-{partition}"));
    for job in next_job(&place)?.. {
        if shutdown.wait_timeout(Duration::from_millis(250)) {
            break; // between two jobs
        }
        println!("partition {partition}: job {job} done by pid {}", std::process::id());
        // A job counts as done when this file says so. At worst it is done once more, so jobs must bear that.
        commit(&place, job + 1)?;
    }
    Ok(())
}

fn next_job(place: &Path) -> io::Result<u64> {
    match fs::read_to_string(place) {
        Ok(text) => text.trim().parse().map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// The file has the old place or the new one, also when the worker is killed in between.
fn commit(place: &Path, next: u64) -> io::Result<()> {
    let new = place.with_extension("new");
    fs::write(&new, format!("{next}\n"))?;
    fs::rename(new, place)
}
