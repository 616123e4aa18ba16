//! What is measured how often, and a line of the table.

use super::running::Log;
use crate::contest;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start, then stop: two rows.
    StartAndStop,
    Restart,
}

pub struct Case {
    pub action: Action,
    pub workers: usize,
    pub log: Log,
    /// How often in a round, per contender.
    pub times: usize,
}

pub const CASES: [Case; 7] = [
    Case { action: Action::StartAndStop, workers: 2, log: Log::Null, times: 6 },
    Case { action: Action::StartAndStop, workers: 16, log: Log::Null, times: 4 },
    Case { action: Action::StartAndStop, workers: 128, log: Log::Null, times: 2 },
    Case { action: Action::StartAndStop, workers: 1024, log: Log::Null, times: 1 },
    Case { action: Action::Restart, workers: 8, log: Log::Null, times: 10 },
    Case { action: Action::StartAndStop, workers: 128, log: Log::Pipe, times: 2 },
    Case { action: Action::Restart, workers: 8, log: Log::Pipe, times: 10 },
];

pub const BARE: usize = 0;
pub const PREFORK: usize = 1;
pub const SAME: usize = 2;
pub const NAMES: [&str; 3] = ["bare", "prefork", "bare"];

/// One line of the table: the samples of each round of each contender.
pub struct Row {
    pub name: String,
    pub workers: usize,
    pub rounds: [Vec<Vec<u64>>; 3],
}

impl Row {
    pub fn new(what: &str, case: &Case) -> Row {
        let pipe = if case.log == Log::Pipe { ", lines to a pipe" } else { "" };
        Row { name: format!("{what}{pipe}"), workers: case.workers, rounds: Default::default() }
    }

    /// The median of all samples.
    pub fn median(&self, contender: usize) -> f64 {
        median(self.rounds[contender].concat())
    }

    pub fn ratio(&self, contender: usize) -> f64 {
        self.median(contender) / self.median(BARE)
    }

    pub fn print(&self) {
        let rounds = self.rounds[PREFORK].iter().zip(&self.rounds[BARE]);
        let ratios: Vec<f64> = rounds.map(|(prefork, bare)| median(prefork.clone()) / median(bare.clone())).collect();
        println!(
            "{:<26} {:>5} {:>10} {:>10} {:>6.2} {:>6.2}..{:<6.2} {:>5.2}",
            self.name,
            self.workers,
            time(self.median(BARE)),
            time(self.median(PREFORK)),
            self.ratio(PREFORK),
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
            self.ratio(SAME),
        );
    }
}

pub fn rows_of(case: &Case) -> &'static [&'static str] {
    match (case.action, case.workers, case.log) {
        (Action::Restart, ..) => &["restart"],
        (_, 128, Log::Null) => &["start", "stop"],
        // Only a stop has lines enough to tell.
        (_, _, Log::Pipe) => &["stop"],
        _ => &["start"],
    }
}

pub fn median(samples: Vec<u64>) -> f64 {
    contest::median(samples.into_iter().map(|sample| sample as f64).collect())
}

pub fn time(nanoseconds: f64) -> String {
    if nanoseconds < 1e6 { format!("{:.0} us", nanoseconds / 1e3) } else { format!("{:.2} ms", nanoseconds / 1e6) }
}
