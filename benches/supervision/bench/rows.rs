//! A line of the table: what was measured of each contestant, and how they compare.

use super::cases::{Case, Contestant, RowOf};
use super::figures::{highest, lowest, median};

pub struct Row {
    pub of: &'static RowOf,
    pub workers: usize,
    /// The samples of each round of each contestant.
    rounds: [Vec<Vec<f64>>; Contestant::ALL.len()],
}

impl Row {
    pub fn new(case: &'static Case) -> Vec<Row> {
        case.rows.iter().map(|of| Row { of, workers: case.workers, rounds: Default::default() }).collect()
    }

    pub fn begin_round(&mut self) {
        self.rounds.iter_mut().for_each(|rounds| rounds.push(Vec::new()));
    }

    pub fn add(&mut self, contestant: Contestant, sample: f64) {
        self.rounds[contestant as usize].last_mut().expect("a round has begun").push(sample);
    }

    /// The median of all samples.
    pub fn median(&self, contestant: Contestant) -> f64 {
        median(self.rounds[contestant as usize].concat())
    }

    pub fn ratio(&self, contestant: Contestant, to: Contestant) -> f64 {
        self.median(contestant) / self.median(to)
    }

    /// The lowest and the highest ratio of prefork to the limit in a round.
    pub fn spread(&self) -> (f64, f64) {
        let [limit, prefork, ..] = &self.rounds;
        let rounds = prefork.iter().zip(limit);
        let ratios: Vec<f64> = rounds.map(|(prefork, limit)| median(prefork.clone()) / median(limit.clone())).collect();
        (lowest(&ratios), highest(&ratios))
    }

    pub fn is_above_its_aim(&self) -> bool {
        self.of.aim.is_some_and(|aim| self.ratio(Contestant::Prefork, Contestant::Limit) > aim)
    }

    pub fn head() -> String {
        format!(
            "{:<33} {:>5} {:>9} {:>9} {:>6} {:^12} {:>5} {:>6} {:>5}",
            "median", "N", "limit", "prefork", "ratio", "rounds", "same", "inside", "aim"
        )
    }

    pub fn line(&self) -> String {
        let [limit, prefork] = [Contestant::Limit, Contestant::Prefork].map(|one| self.of.unit.write(self.median(one)));
        let (lowest, highest) = self.spread();
        format!(
            "{:<33} {:>5} {limit:>9} {prefork:>9} {:>6.2} {lowest:>5.2}..{highest:<5.2} {:>5.2} {:>6.2} {:>5}",
            self.of.name,
            self.workers,
            self.ratio(Contestant::Prefork, Contestant::Limit),
            self.ratio(Contestant::Same, Contestant::Limit),
            self.ratio(Contestant::Prefork, Contestant::Inside),
            self.of.aim.map(|aim| aim.to_string()).unwrap_or_default(),
        )
    }
}
