//! The process that measures.

mod at_rest;
mod figures;
mod options;
mod programs;
mod rows;
mod running;

use std::env;
use std::io::{self, IsTerminal};
use std::thread::sleep;
use std::time::Duration;

use at_rest::{heartbeat, idle, wakeups};
use options::Options;
use rows::{Action, CASES, CONTESTANTS, Case, LIMIT, PREFORK, Row};
use running::{Log, Running};

const AIM: f64 = 1.15;

/// After the last worker's first statement its supervisor still has to come to rest.
const SETTLE: Duration = Duration::from_millis(3);

pub fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo bench` says so; `cargo test --benches` does not, and wants no long job.
    if arguments.iter().any(|argument| argument == "--bench") {
        measure(&Options::read(&arguments));
    } else {
        println!("nothing is measured without --bench: run `cargo bench`");
    }
}

fn measure(options: &Options) {
    let rows = compare(options);
    if !rows.is_empty() {
        println!("{} rounds; prefork over a bare loop of fork and waitpid, aim {AIM}\n", options.rounds);
        println!("{}", Row::HEAD);
        rows.iter().for_each(Row::print);
    }
    if options.wants("idle") {
        idle(options.idle);
    }
    if options.wants("heartbeat") {
        heartbeat();
    }
    if options.wants("wakeups") {
        wakeups(options.idle);
    }
    let over = rows.iter().filter(|row| row.ratio(PREFORK, LIMIT) > AIM);
    let over: Vec<String> = over.map(|row| format!("{}, {}", row.name, row.workers)).collect();
    match over[..] {
        [] => {}
        _ => println!("\nabove the aim: {}", over.join("; ")),
    }
}

/// The rows that compare times.
fn compare(options: &Options) -> Vec<Row> {
    let cases: Vec<&Case> = CASES.iter().filter(|case| case.rows().iter().any(|row| options.wants(row))).collect();
    let mut rows: Vec<Vec<Row>> =
        cases.iter().map(|case| case.rows().iter().map(|what| Row::new(what, case)).collect()).collect();
    for round in 0..options.rounds {
        for (case, rows) in cases.iter().zip(&mut rows).filter(|(case, _)| round % case.every == 0) {
            say_progress(&format!("round {} of {}: {} {}", round + 1, options.rounds, rows[0].name, case.workers));
            run_round(case, rows, round);
        }
    }
    say_progress("");
    let mut rows: Vec<Row> = rows.into_iter().flatten().collect();
    rows.retain(|row| options.wants(&row.name));
    rows.sort_by_key(|row| row.name.ends_with("pipe"));
    rows
}

fn run_round(case: &Case, rows: &mut [Row], round: usize) {
    rows.iter_mut().for_each(Row::begin_round);
    // All the kills of a round are of one supervisor.
    let turns = if case.action == Action::Restart { 1 } else { case.times };
    for turn in 0..turns {
        for contestant in order(round / case.every + turn) {
            let samples = sample(case, contestant);
            rows.iter_mut().zip(samples).for_each(|(row, samples)| row.add(contestant, samples));
        }
    }
}

/// Over the turns each contestant stands at each place, and before and after each other one.
fn order(turn: usize) -> [usize; CONTESTANTS.len()] {
    let mut order = std::array::from_fn(|contestant| contestant);
    order.rotate_left(turn % CONTESTANTS.len());
    if turn / CONTESTANTS.len() % 2 == 1 {
        order.reverse();
    }
    order
}

/// One contestant's turn: the samples for each row of the case.
fn sample(case: &Case, contestant: usize) -> Vec<Vec<f64>> {
    let mut running = Running::start(CONTESTANTS[contestant], case.workers, case.log);
    sleep(SETTLE);
    let samples = match (case.action, case.log) {
        (Action::StartAndStop, Log::Null) => vec![vec![running.start_time()], vec![running.stop_time()]],
        (Action::StartAndStop, Log::Pipe) => vec![vec![running.stop_time()]],
        (Action::Burst, _) => {
            let time = running.burst_time();
            sleep(SETTLE);
            running.stop_time();
            vec![vec![time]]
        }
        (Action::Restart, _) => {
            let times = (0..case.times).map(|time| {
                let sample = running.restart_time(time % case.workers);
                sleep(SETTLE);
                sample
            });
            let times = times.collect();
            running.stop_time();
            vec![times]
        }
    };
    // What the kernel still has to clear up is not the next one's burden.
    sleep(SETTLE);
    samples
}

/// A line that the next one replaces. The table is on standard output, which may go to a file.
fn say_progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}
