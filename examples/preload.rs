//! Something big, loaded once and lent to every worker: they share its memory as long as no worker writes to it.
//!
//! `cargo run --release --example preload`

use std::fs;
use std::time::Instant;

use prefork_rt::{Worker, prefork};

/// Stands for a model, a dictionary, a routing table.
struct Model {
    weights: Vec<u64>,
}

/// Runs once, in the first process, before any worker is forked.
fn load() -> Result<Model, String> {
    let start = Instant::now();
    let weights: Vec<u64> = (0..(256 << 20) / 8).collect();
    println!("loaded {} MiB in {:?}", (weights.len() * 8) >> 20, start.elapsed());
    Ok(Model { weights })
}

#[prefork(workers = 4, preload = load)]
fn main(worker: Worker, model: &Model) {
    let sum: u64 = model.weights.iter().sum();
    let (shared, private) = memory();
    let id = worker.task_id();
    println!("worker {id}: sum {sum}; {shared} MiB shared with the others, {private} MiB of its own");
}

/// What this process shares with others and what it has alone, in MiB.
fn memory() -> (usize, usize) {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let sum = |prefix: &str| -> usize {
        let lines = rollup.lines().filter(|line| line.starts_with(prefix));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok()).sum()
    };
    (sum("Shared_") >> 10, sum("Private_") >> 10)
}
