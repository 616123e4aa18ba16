//! Something big, loaded once and lent to every worker: they share its memory as long as no worker writes to it.
//!
//! `cargo run --release --example preload -- 1024` loads 1 GiB of ordinary heap, and `-- 1024 shared` has it in
//! `SharedBytes`. Worker 0 prints what all processes take together, as a part of what was loaded.

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};
use std::{env, fs};

use prefork_rt::{SharedBytes, Shutdown, State, Worker, prefork, status};

/// Stands for a model, a dictionary, a routing table.
enum Model {
    Heap(Vec<u64>),
    Shared(SharedBytes),
}

/// Runs once, in the first process, before any worker is forked.
fn load() -> Result<Model, Box<dyn Error>> {
    let start = Instant::now();
    let size = env::args().nth(1).map_or(Ok(64), |size| size.parse::<u64>())?;
    let weights = 0..(size << 20) / 8;
    let (model, place) = match env::args().nth(2).as_deref() {
        Some("shared") => {
            let mut writer = SharedBytes::writer()?;
            for weight in weights {
                writer.write_all(&weight.to_ne_bytes())?;
            }
            (Model::Shared(writer.finish()?), "shared bytes")
        }
        _ => (Model::Heap(weights.collect()), "heap"),
    };
    println!("loaded {size} MiB of {place} in {:?}", start.elapsed());
    Ok(model)
}

impl Model {
    fn len(&self) -> usize {
        match self {
            Model::Heap(weights) => size_of_val(&weights[..]),
            Model::Shared(bytes) => bytes.len(),
        }
    }

    fn sum(&self) -> u64 {
        match self {
            Model::Heap(weights) => weights.iter().sum(),
            Model::Shared(bytes) => bytes.chunks_exact(8).map(weight).sum(),
        }
    }
}

/// `bytemuck::cast_slice` would give all of them as a slice.
fn weight(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_ne_bytes)
}

#[prefork(workers = 4, preload = load)]
fn main(worker: Worker, shutdown: Shutdown, model: &Model) {
    let start = Instant::now();
    let sum = model.sum();
    println!("worker {}: sum {sum} in {:?}", worker.task_id(), start.elapsed());
    // Tells the others that it has read all.
    worker.heartbeat();
    let is_over = if worker.task_id() == 0 { all_have_read } else { all_was_measured };
    while !is_over() && !shutdown.wait_timeout(Duration::from_millis(10)) {}
    if worker.task_id() == 0 {
        print_memory(model.len());
    }
}

fn all_have_read() -> bool {
    status().is_none_or(|status| status.workers.iter().all(|worker| worker.beats > 0))
}

fn all_was_measured() -> bool {
    status().is_none_or(|status| status.workers[0].state == State::Finished)
}

/// What the supervisor and all workers take, where a page that n processes share counts as 1/n in each of them.
fn print_memory(loaded: usize) {
    let Some(status) = status() else { return };
    let pids = status.workers.iter().filter_map(|worker| worker.pid).chain([status.supervisor]);
    let sizes: Vec<u64> = pids.filter_map(proportional).collect();
    let (taken, loaded) = (sizes.iter().sum::<u64>() >> 10, loaded as u64 >> 10);
    let ratio = taken as f64 / loaded as f64;
    println!("{} processes take {taken} KiB, {ratio:.3} times the {loaded} KiB that were loaded", sizes.len());
}

/// The proportional set size of a process in bytes.
fn proportional(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}
