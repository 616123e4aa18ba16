//! The process that measures.

mod at_rest;
mod cases;
mod figures;
mod interruption;
mod options;
mod peers;
mod process;
mod programs;
mod rows;
mod running;
mod sample;

use std::env;
use std::fs;
use std::io::{self, IsTerminal};

use at_rest::Fact;
use cases::{CASES, Case, Contestant};
use options::Options;
use peers::PeerRow;
use rows::Row;

/// The cases with a gigabyte run only where this much memory is available.
const MEMORY: u64 = 3 << 20;

pub fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo bench` says so; `cargo test --benches` does not, and wants no long job.
    if arguments.iter().any(|argument| argument == "--bench") {
        interruption::note_signals();
        measure(&Options::read(&arguments));
    } else {
        println!("nothing is measured without --bench: run `cargo bench`");
    }
}

fn measure(options: &Options) {
    let rows = compare(options);
    if !rows.is_empty() {
        println!("{} rounds; prefork over a bare loop of fork and waitpid\n\n{}", options.rounds, Row::head());
        rows.iter().for_each(|row| println!("{}", row.line()));
    }
    facts(options).iter().for_each(|fact| println!("{}", fact.line()));
    if options.peer_rounds > 0 {
        peers(options);
    }
    let over = rows.iter().filter(|row| row.is_above_its_aim());
    let over: Vec<String> = over.map(|row| format!("{}, {}", row.of.name, row.workers)).collect();
    if !over.is_empty() {
        println!("\nabove the aim: {}", over.join("; "));
    }
}

/// The rows that compare.
fn compare(options: &Options) -> Vec<Row> {
    let wanted = |case: &&'static Case| case.rows.iter().any(|row| options.wants(row.name)) && has_memory(case);
    let cases: Vec<&'static Case> = CASES.iter().filter(wanted).collect();
    let mut rows: Vec<Vec<Row>> = cases.iter().map(|case| Row::new(case)).collect();
    for round in 0..options.rounds {
        if !io::stderr().is_terminal() {
            eprintln!("round {} of {}", round + 1, options.rounds);
        }
        for (case, rows) in cases.iter().zip(&mut rows).filter(|(case, _)| round % case.every == 0) {
            say_progress(&format!(
                "round {} of {}: {}, {}",
                round + 1,
                options.rounds,
                case.rows[0].name,
                case.workers
            ));
            rows.iter_mut().for_each(Row::begin_round);
            for turn in 0..case.turns() {
                for contestant in order(round / case.every + turn) {
                    for sample in sample::sample(case, contestant) {
                        rows.iter_mut().zip(sample).for_each(|(row, figure)| row.add(contestant, figure));
                    }
                }
            }
        }
    }
    say_progress("");
    rows.into_iter().flatten().filter(|row| options.wants(row.of.name)).collect()
}

/// What is compared with nothing.
fn facts(options: &Options) -> Vec<Fact> {
    let facts: [(&str, &dyn Fn() -> Fact); 4] = [
        ("reload", &|| at_rest::reload(options.rounds)),
        ("idle", &|| at_rest::idle(options.idle)),
        ("wakeups", &|| at_rest::wakeups(options.idle)),
        ("heartbeat", &at_rest::heartbeat),
    ];
    let wanted = facts.iter().filter(|(name, _)| options.wants(name));
    let facts = wanted.map(|(name, measure)| {
        say_progress(name);
        measure()
    });
    let facts = facts.collect();
    say_progress("");
    facts
}

fn peers(options: &Options) {
    let rows = peers::compare(options.peer_rounds, say_progress);
    say_progress("");
    let print = |name, workers: String, cells: [String; peers::COUNT]| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>18}")).collect();
        println!("{name:<8} {workers:>5}{cells}");
    };
    println!("\n{} rounds; a worker counts as soon as it is forked; over the limit\n", options.peer_rounds);
    print("median", "N".into(), PeerRow::heads().map(str::to_owned));
    rows.iter().for_each(|row| print(row.action.name(), row.workers.to_string(), row.cells()));
}

/// Over the turns each contestant stands at each place, and before and after each other one.
fn order(turn: usize) -> [Contestant; Contestant::ALL.len()] {
    let mut order = Contestant::ALL;
    order.rotate_left(turn % Contestant::ALL.len());
    if turn / Contestant::ALL.len() % 2 == 1 {
        order.reverse();
    }
    order
}

/// Whether the machine has the memory that this case needs; says so where it has not.
fn has_memory(case: &Case) -> bool {
    let information = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = information.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let has = !case.is_big() || available.is_some_and(|kilobytes| kilobytes >= MEMORY);
    if !has {
        println!("not measured, for want of 3 GiB of free memory: {}", case.rows[0].name);
    }
    has
}

/// A line that the next one replaces, on a terminal. The tables are on standard output, which may go to a file.
fn say_progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}
