//! The process that measures.

mod at_rest;
mod cases;
mod chart;
mod figures;
mod interruption;
mod options;
mod peers;
mod process;
mod programs;
mod rows;
mod running;
mod sample;
mod table;
mod weight;
mod written;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use at_rest::Fact;
use cases::{CASES, Case, Contestant};
use options::Options;
use peers::PeerRow;
use rows::Row;
use table::Table;
use written::Figures;

/// The cases with a gigabyte run only where this much memory is available.
const MEMORY: u64 = 3 << 20;

/// What is compared with nothing: the word that selects it, and what measures it.
const FACTS: [(&str, MeasureFacts); 5] = [
    ("reload", |options| vec![at_rest::reload(options.rounds)]),
    ("idle", |options| vec![at_rest::idle(options.idle)]),
    ("wakeups", |options| vec![at_rest::wakeups(options.idle)]),
    ("heartbeat", |_| vec![at_rest::heartbeat()]),
    (WEIGHT, |_| weight::weigh()),
];

type MeasureFacts = fn(&Options) -> Vec<Fact>;

/// The slow one of the facts.
const WEIGHT: &str = "build and size";

pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo bench` says so; `cargo test --benches` does not, and wants no long job.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("nothing is measured without --bench: run `cargo bench`");
        return ExitCode::SUCCESS;
    }
    match Options::read(&arguments, &names()) {
        Ok(Some(options)) => {
            interruption::note_signals();
            measure(&options);
            ExitCode::SUCCESS
        }
        Ok(None) => {
            print!("{}", Options::usage(&names()));
            ExitCode::SUCCESS
        }
        Err(mistake) => {
            eprint!("{mistake}\n\n{}", Options::usage(&names()));
            ExitCode::from(2)
        }
    }
}

/// Of all rows, once each.
fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = CASES.iter().flat_map(|case| case.rows).map(|row| row.name).collect();
    names.extend(FACTS.iter().map(|(name, _)| name));
    names.push("peers");
    let mut known = BTreeSet::new();
    names.retain(|&name| known.insert(name));
    names
}

fn measure(options: &Options) {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let rows = compare(options);
    let comparison = Row::table(&rows, options.before.is_some());
    print(&format!("{} rounds; prefork over a bare loop of fork and waitpid", options.rounds), &comparison);
    let over = rows.iter().filter(|row| row.is_above_its_aim());
    let above = over.map(|row| format!("{} of {}", row.of.name, row.workers)).collect::<Vec<String>>().join("; ");
    if !above.is_empty() {
        println!("\nabove the aim: {above}");
    }
    let facts = Fact::table(facts(options));
    print("prefork", &facts);
    let peers = peers::compare(options.peer_rounds, say_progress);
    let title = format!("{} rounds; a worker counts as soon as it is forked; over the limit", options.peer_rounds);
    let table = PeerRow::table(&peers);
    print(&title, &table);
    if options.write {
        say_progress("sockets");
        // The guide has no earlier prefork.
        let comparison = Row::table(&rows, false);
        written::write(options, &Figures { load, comparison, above, facts, peers });
    }
    say_progress("");
}

/// A table that has lines.
fn print(title: &str, table: &Table) {
    say_progress("");
    if !table.is_empty() {
        println!("\n{title}\n\n{}", table.text().trim_end());
    }
}

/// The rows that compare.
fn compare(options: &Options) -> Vec<Row> {
    let wanted = |case: &&'static Case| case.rows.iter().any(|row| options.wants(row.name)) && has_memory(case);
    let cases: Vec<&'static Case> = CASES.iter().filter(wanted).collect();
    let mut rows: Vec<Vec<Row>> = cases.iter().map(|case| Row::new(case)).collect();
    if cases.is_empty() {
        return Vec::new();
    }
    let before = options.before.as_deref();
    for round in 0..options.rounds {
        for (case, rows) in cases.iter().zip(&mut rows).filter(|(case, _)| round % case.every == 0) {
            let (name, workers) = (case.rows[0].name, case.workers);
            say_progress(&format!("round {} of {}: {name}, {workers}", round + 1, options.rounds));
            rows.iter_mut().for_each(Row::begin_round);
            for turn in 0..case.turns() {
                for contestant in order(round / case.every + turn) {
                    let Some((program, body)) = contestant.of(case, before) else { continue };
                    for sample in sample::sample(case, &program, &body) {
                        rows.iter_mut().zip(sample).for_each(|(row, figure)| row.add(contestant, figure));
                    }
                }
            }
        }
    }
    rows.into_iter().flatten().filter(|row| options.wants(row.of.name)).collect()
}

fn facts(options: &Options) -> Vec<Fact> {
    let wanted =
        FACTS.iter().filter(|(name, _)| if *name == WEIGHT { options.wants_slow(name) } else { options.wants(name) });
    let measured = wanted.flat_map(|(name, measure)| {
        say_progress(name);
        measure(options)
    });
    measured.collect()
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

/// A line that the next one replaces, on a terminal; elsewhere a line with the seconds since the first one. The tables are
/// on standard output, which may go to a file.
fn say_progress(text: &str) {
    static SINCE: OnceLock<Instant> = OnceLock::new();
    let since = SINCE.get_or_init(Instant::now);
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    } else if !text.is_empty() {
        eprintln!("{:>5} s  {text}", since.elapsed().as_secs());
    }
}
