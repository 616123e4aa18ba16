//! The process that measures.

mod at_rest;
mod bare_loop;
mod board;
mod contender;
mod rows;
mod running;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use crate::contest;
use at_rest::{heartbeat, idle, wakeups};
use rows::{Action, BARE, CASES, Case, NAMES, PREFORK, Row, SAME, median, rows_of, time};
use running::{Contender, Log};

const AIM: f64 = 1.15;

/// After the last worker's first statement its supervisor still has to come to rest.
const SETTLE: Duration = Duration::from_millis(3);

pub fn main() -> ExitCode {
    contest::run(contender::contend, |arguments| compare(&Options::read(arguments)))
}

struct Options {
    rounds: usize,
    idle: Duration,
    /// Words of which a row must have one; none: every row.
    rows: Vec<String>,
}

impl Options {
    fn read(arguments: &[&str]) -> Options {
        let quick = arguments.contains(&"--quick");
        let mut options = Options {
            rounds: if quick { 4 } else { 24 },
            idle: Duration::from_secs(if quick { 2 } else { 10 }),
            rows: Vec::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            match argument {
                "--bench" | "--quick" => {}
                "--rounds" => {
                    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
                    options.rounds = rounds.expect("--rounds takes a number");
                }
                word => options.rows.push(word.to_owned()),
            }
        }
        options
    }

    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|word| row.contains(word.as_str()))
    }
}

fn compare(options: &Options) {
    let cases: Vec<&Case> = CASES.iter().filter(|case| rows_of(case).iter().any(|row| options.wants(row))).collect();
    let mut rows: Vec<Vec<Row>> =
        cases.iter().map(|case| rows_of(case).iter().map(|what| Row::new(what, case)).collect()).collect();
    let mut set_up = Vec::new();
    for round in 0..options.rounds {
        for (case, rows) in cases.iter().zip(&mut rows) {
            for row in &mut *rows {
                row.rounds.iter_mut().for_each(|rounds| rounds.push(Vec::new()));
            }
            for turn in 0..case.times {
                for contender in order(round + turn) {
                    let mut samples = sample(case, contender, &mut set_up);
                    for (row, samples) in rows.iter_mut().zip(&mut samples) {
                        row.rounds[contender].last_mut().expect("begun").append(samples);
                    }
                }
                if case.action == Action::Restart {
                    // All the kills of a round are of one supervisor.
                    break;
                }
            }
        }
    }
    let mut rows: Vec<Row> = rows.into_iter().flatten().collect();
    rows.retain(|row| options.wants(&row.name));
    rows.sort_by_key(|row| row.name.ends_with("pipe"));
    println!("{} rounds; prefork over a bare loop of fork and waitpid, aim {AIM}", options.rounds);
    if cfg!(feature = "reseed") {
        println!("every worker reseeds three generators here: --no-default-features measures without");
    }
    println!();
    println!(
        "{:<26} {:>5} {:>10} {:>10} {:>6} {:^14} {:>5}",
        "median", "N", "bare", "prefork", "ratio", "rounds", "same"
    );
    rows.iter().for_each(Row::print);
    if !set_up.is_empty() {
        println!("set-up: {}", time(median(set_up)));
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
    let over: Vec<&str> = rows.iter().filter(|row| row.ratio(PREFORK) > AIM).map(|row| row.name.as_str()).collect();
    match over[..] {
        [] => println!("\nevery ratio is within the aim"),
        _ => println!("\nabove the aim: {}", over.join("; ")),
    }
}

/// Every order of the three comes up equally often.
fn order(turn: usize) -> [usize; 3] {
    let mut order = [BARE, PREFORK, SAME];
    order.rotate_left(turn % 3);
    if turn / 3 % 2 == 1 {
        order.reverse();
    }
    order
}

/// One contender's turn: the samples for each row of the case.
fn sample(case: &Case, contender: usize, set_up: &mut Vec<u64>) -> Vec<Vec<u64>> {
    let mut running = Contender::start(NAMES[contender], case.workers, case.log);
    sleep(SETTLE);
    let samples = match (case.action, case.log) {
        (Action::StartAndStop, Log::Null) => {
            let start = running.start_time();
            if contender == PREFORK {
                set_up.push(running.set_up_time());
            }
            vec![vec![start], vec![running.stop_time()]]
        }
        (Action::StartAndStop, Log::Pipe) => vec![vec![running.stop_time()]],
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
