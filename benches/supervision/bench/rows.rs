//! What is measured how often, and a line of the table.

use super::figures::{highest, lowest, median, time};
use super::running::Log;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start, then stop: two rows.
    StartAndStop,
    Restart,
    /// All workers are killed at once.
    Burst,
}

pub struct Case {
    pub action: Action,
    pub workers: usize,
    pub log: Log,
    /// How often in a round, per contender.
    pub times: usize,
    /// In which rounds: every round, every second one and so on.
    pub every: usize,
}

pub const CASES: [Case; 10] = [
    Case { action: Action::StartAndStop, workers: 2, log: Log::Null, times: 5, every: 1 },
    Case { action: Action::StartAndStop, workers: 16, log: Log::Null, times: 3, every: 1 },
    Case { action: Action::StartAndStop, workers: 128, log: Log::Null, times: 2, every: 1 },
    Case { action: Action::StartAndStop, workers: 1024, log: Log::Null, times: 1, every: 1 },
    Case { action: Action::StartAndStop, workers: 4096, log: Log::Null, times: 1, every: 4 },
    Case { action: Action::Restart, workers: 8, log: Log::Null, times: 16, every: 1 },
    Case { action: Action::Burst, workers: 128, log: Log::Null, times: 2, every: 1 },
    Case { action: Action::Burst, workers: 1024, log: Log::Null, times: 1, every: 2 },
    Case { action: Action::StartAndStop, workers: 128, log: Log::Pipe, times: 1, every: 1 },
    Case { action: Action::Restart, workers: 8, log: Log::Pipe, times: 8, every: 1 },
];

impl Case {
    /// The rows that it measures, in this order.
    pub fn rows(&self) -> &'static [&'static str] {
        match (self.action, self.log, self.workers) {
            (Action::Restart, ..) => &["restart"],
            (Action::Burst, ..) => &["burst"],
            // Only a stop has lines enough to tell.
            (Action::StartAndStop, Log::Pipe, _) => &["stop"],
            (Action::StartAndStop, Log::Null, ..128) => &["start"],
            (Action::StartAndStop, Log::Null, _) => &["start", "stop"],
        }
    }
}

/// A program, and what its first argument has it run.
pub type Contestant = (&'static str, &'static str);

/// By these numbers; every round has all of them.
pub const CONTESTANTS: [Contestant; 4] = [("limit", "loop"), ("pool", "prefork"), ("limit", "loop"), ("pool", "loop")];
pub const LIMIT: usize = 0;
pub const PREFORK: usize = 1;
pub const SAME: usize = 2;
pub const INSIDE: usize = 3;

/// One line of the table: the samples of each round of each contestant.
pub struct Row {
    pub name: String,
    pub workers: usize,
    pub rounds: [Vec<Vec<f64>>; CONTESTANTS.len()],
}

impl Row {
    pub fn new(what: &str, case: &Case) -> Row {
        let pipe = if case.log == Log::Pipe { ", lines to a pipe" } else { "" };
        Row { name: format!("{what}{pipe}"), workers: case.workers, rounds: Default::default() }
    }

    pub fn begin_round(&mut self) {
        self.rounds.iter_mut().for_each(|rounds| rounds.push(Vec::new()));
    }

    pub fn add(&mut self, contestant: usize, samples: Vec<f64>) {
        self.rounds[contestant].last_mut().expect("a round has begun").extend(samples);
    }

    /// The median of all samples.
    pub fn median(&self, contestant: usize) -> f64 {
        median(self.rounds[contestant].concat())
    }

    pub fn ratio(&self, contestant: usize, to: usize) -> f64 {
        self.median(contestant) / self.median(to)
    }

    pub const HEAD: &str = "median                       N      limit    prefork  ratio     rounds      same inside";

    pub fn print(&self) {
        let rounds = self.rounds[PREFORK].iter().zip(&self.rounds[LIMIT]);
        let ratios: Vec<f64> = rounds.map(|(prefork, limit)| median(prefork.clone()) / median(limit.clone())).collect();
        println!(
            "{:<24} {:>5} {:>10} {:>10} {:>6.2} {:>6.2}..{:<6.2} {:>5.2} {:>6.2}",
            self.name,
            self.workers,
            time(self.median(LIMIT)),
            time(self.median(PREFORK)),
            self.ratio(PREFORK, LIMIT),
            lowest(&ratios),
            highest(&ratios),
            self.ratio(SAME, LIMIT),
            self.ratio(PREFORK, INSIDE),
        );
    }
}
