//! A row of the table: what was measured of each contestant, and how they compare.

use super::cases::{Case, Contestant, RowOf};
use super::figures::{highest, lowest, median};
use super::table::Table;

pub struct Row {
    pub of: &'static RowOf,
    pub workers: usize,
    /// The samples of each round of each contestant; of none that does not take part.
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

    /// The median of all samples; none where there are none.
    fn median(&self, contestant: Contestant) -> Option<f64> {
        let samples = self.rounds[contestant as usize].concat();
        (!samples.is_empty()).then(|| median(samples))
    }

    fn ratio(&self, contestant: Contestant, to: Contestant) -> Option<f64> {
        Some(self.median(contestant)? / self.median(to)?)
    }

    /// The lowest and the highest ratio of prefork to the limit in a round.
    fn spread(&self) -> (f64, f64) {
        let [limit, prefork] = [Contestant::Limit, Contestant::Prefork].map(|one| &self.rounds[one as usize]);
        let rounds = prefork.iter().zip(limit);
        let ratios: Vec<f64> = rounds.map(|(prefork, limit)| median(prefork.clone()) / median(limit.clone())).collect();
        (lowest(&ratios), highest(&ratios))
    }

    pub fn is_above_its_aim(&self) -> bool {
        let ratio = self.ratio(Contestant::Prefork, Contestant::Limit);
        self.of.aim.zip(ratio).is_some_and(|(aim, ratio)| ratio > aim)
    }

    /// What an earlier prefork took, where one takes part, and its ratio to the limit have columns of their own.
    pub fn table(rows: &[Row], with_before: bool) -> Table {
        let [before, of_before]: [&[&str]; 2] = if with_before { [&["before"], &["ratio before"]] } else { [&[], &[]] };
        let parts = [&["median", "N", "limit"], before, &["prefork"], of_before];
        let mut table = Table::new(parts.concat().into_iter().chain(["ratio", "rounds", "same", "inside", "aim"]));
        rows.iter().for_each(|row| table.push(row.cells(with_before)));
        table
    }

    fn cells(&self, with_before: bool) -> Vec<String> {
        let time = |of| self.median(of).map(|figure| self.of.unit.write(figure)).unwrap_or_else(nothing);
        let ratio = |of, to| self.ratio(of, to).map(|ratio| format!("{ratio:.2}")).unwrap_or_else(nothing);
        let (lowest, highest) = self.spread();
        let mut cells = vec![self.of.name.to_owned(), self.workers.to_string(), time(Contestant::Limit)];
        if with_before {
            cells.push(time(Contestant::Before));
        }
        cells.push(time(Contestant::Prefork));
        if with_before {
            cells.push(ratio(Contestant::Before, Contestant::Limit));
        }
        cells.extend([
            ratio(Contestant::Prefork, Contestant::Limit),
            format!("{lowest:.2}..{highest:.2}"),
            ratio(Contestant::Same, Contestant::Limit),
            ratio(Contestant::Prefork, Contestant::Inside),
            self.of.aim.map(|aim| aim.to_string()).unwrap_or_default(),
        ]);
        cells
    }
}

/// The cell of a contestant that was not measured.
pub fn nothing() -> String {
    "–".to_owned()
}
