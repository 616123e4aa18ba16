//! What is measured, and how often.

use std::path::{Path, PathBuf};

use super::figures::Unit;
use super::programs;
use super::running::Log;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    StartAndStop,
    Stop,
    Restart,
    /// All workers are killed at once.
    Burst,
    /// All workers fail at once, again and again.
    CrashLoop,
    /// What workers cost that end at once.
    Worker,
    /// Memory that nothing else has, at rest.
    PrivateMemory,
    /// Memory that all read, at rest.
    SharedMemory,
}

pub struct Case {
    pub action: Action,
    /// What the contestants are to run.
    pub body: &'static str,
    /// The program that uses prefork.
    pub program: &'static str,
    /// Environment variables of all contestants, which only prefork reads.
    pub variables: &'static [(&'static str, &'static str)],
    pub workers: usize,
    pub log: Log,
    /// How often in a round, for each contestant.
    pub times: usize,
    /// In which rounds: every round, every second one and so on.
    pub every: usize,
    pub rows: &'static [RowOf],
}

/// What a case measures: each of its samples has a figure for each of its rows, in their order.
pub struct RowOf {
    pub name: &'static str,
    pub unit: Unit,
    /// The ratio to reach.
    pub aim: Option<f64>,
}

const START: RowOf = RowOf { name: "start", unit: Unit::Time, aim: Some(1.15) };
const STOP: RowOf = RowOf { name: "stop", unit: Unit::Time, aim: Some(1.15) };
const RESTART: RowOf = RowOf { name: "restart", unit: Unit::Time, aim: Some(1.15) };
const BURST: RowOf = RowOf { name: "burst", unit: Unit::Time, aim: Some(1.15) };
const CRASH_TIME: RowOf = RowOf { name: "crash loop, time a restart", unit: Unit::Time, aim: None };
const CRASH_CPU: RowOf = RowOf { name: "crash loop, CPU a restart", unit: Unit::Time, aim: None };
const WORKER_CPU: RowOf = RowOf { name: "worker's life, CPU", unit: Unit::Time, aim: Some(1.2) };
const WORKER_FAULTS: RowOf = RowOf { name: "worker's life, page faults", unit: Unit::Count, aim: Some(1.2) };
const SUPERVISOR_MEMORY: RowOf = RowOf { name: "private memory, supervisor", unit: Unit::Kilobytes, aim: Some(2.0) };
const WORKER_MEMORY: RowOf = RowOf { name: "private memory, worker", unit: Unit::Kilobytes, aim: Some(2.0) };
const RESTART_PIPE: RowOf = RowOf { name: "restart, lines to a pipe", unit: Unit::Time, aim: None };
const STOP_PIPE: RowOf = RowOf { name: "stop, lines to a pipe", unit: Unit::Time, aim: None };
const RESTART_RESEEDING: RowOf = RowOf { name: "restart, reseeding", unit: Unit::Time, aim: None };
const CPU_RESEEDING: RowOf = RowOf { name: "worker's life, reseeding, CPU", unit: Unit::Time, aim: None };
const FAULTS_RESEEDING: RowOf = RowOf { name: "worker's life, reseeding, faults", unit: Unit::Count, aim: None };
const RESTART_PRELOADED: RowOf = RowOf { name: "restart, 1 GiB preloaded", unit: Unit::Time, aim: Some(0.05) };
const RESTART_HUGE: RowOf = RowOf { name: "restart, 1 GiB in huge pages", unit: Unit::Time, aim: Some(0.05) };
const PRELOADED_MEMORY: RowOf = RowOf { name: "1 GiB preloaded and read, PSS", unit: Unit::Kilobytes, aim: Some(1.01) };

/// Most of a row's case: prefork without features, whose lines go nowhere.
const BASE: Case = Case {
    action: Action::StartAndStop,
    body: "wait",
    program: "pool",
    variables: &[],
    workers: 8,
    log: Log::Null,
    times: 1,
    every: 1,
    rows: &[],
};

pub const CASES: [Case; 21] = [
    Case { workers: 2, times: 5, rows: &[START], ..BASE },
    Case { workers: 16, times: 3, rows: &[START], ..BASE },
    Case { workers: 128, times: 2, rows: &[START, STOP], ..BASE },
    Case { workers: 1024, rows: &[START, STOP], ..BASE },
    Case { workers: 4096, every: 4, rows: &[START, STOP], ..BASE },
    Case { action: Action::Restart, times: 16, rows: &[RESTART], ..BASE },
    Case { action: Action::Restart, workers: 128, times: 8, rows: &[RESTART], ..BASE },
    Case { action: Action::Restart, workers: 1024, times: 8, every: 2, rows: &[RESTART], ..BASE },
    Case { action: Action::Restart, workers: 4096, times: 8, every: 4, rows: &[RESTART], ..BASE },
    Case { action: Action::Burst, workers: 128, times: 2, rows: &[BURST], ..BASE },
    Case { action: Action::Burst, workers: 1024, every: 2, rows: &[BURST], ..BASE },
    Case { action: Action::CrashLoop, body: "crash", workers: 4, rows: &[CRASH_TIME, CRASH_CPU], ..BASE },
    Case { action: Action::Worker, body: "end", workers: 64, rows: &[WORKER_CPU, WORKER_FAULTS], ..BASE },
    Case { action: Action::PrivateMemory, every: 4, rows: &[SUPERVISOR_MEMORY, WORKER_MEMORY], ..BASE },
    Case {
        action: Action::Restart,
        body: "preloaded",
        workers: 2,
        times: 4,
        every: 2,
        rows: &[RESTART_PRELOADED],
        ..BASE
    },
    Case {
        action: Action::Restart,
        body: "preloaded",
        variables: &[("PREFORK_HUGE_PAGES", "true")],
        workers: 2,
        times: 4,
        every: 2,
        rows: &[RESTART_HUGE],
        ..BASE
    },
    Case { action: Action::SharedMemory, body: "read", workers: 4, every: 10, rows: &[PRELOADED_MEMORY], ..BASE },
    Case { action: Action::Stop, workers: 128, log: Log::Pipe, rows: &[STOP_PIPE], ..BASE },
    Case { action: Action::Restart, log: Log::Pipe, times: 8, rows: &[RESTART_PIPE], ..BASE },
    Case { action: Action::Restart, program: "reseeding", times: 8, rows: &[RESTART_RESEEDING], ..BASE },
    Case {
        action: Action::Worker,
        body: "end",
        program: "reseeding",
        workers: 64,
        rows: &[CPU_RESEEDING, FAULTS_RESEEDING],
        ..BASE
    },
];

impl Case {
    /// How often it is started in a round. All the restarts of a round are of one supervisor.
    pub fn turns(&self) -> usize {
        if self.action == Action::Restart { 1 } else { self.times }
    }

    /// Whether its contestants have a gigabyte of memory before they fork.
    pub fn is_big(&self) -> bool {
        matches!(self.body, "preloaded" | "read")
    }
}

/// What takes part in each round.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contestant {
    Limit,
    Prefork,
    /// The limit once more.
    Same,
    /// The bare loop inside the program that uses prefork.
    Inside,
    /// The program that uses an earlier prefork, where there is one.
    Before,
}

impl Contestant {
    pub const ALL: [Contestant; 5] =
        [Contestant::Limit, Contestant::Prefork, Contestant::Same, Contestant::Inside, Contestant::Before];

    /// The program, and what it is to run; none where an earlier prefork does not take part.
    pub fn of(self, case: &Case, before: Option<&Path>) -> Option<(PathBuf, String)> {
        let (program, body) = match self {
            Contestant::Limit | Contestant::Same => (programs::path("limit"), case.body.to_owned()),
            Contestant::Prefork => (programs::path(case.program), case.body.to_owned()),
            Contestant::Inside => (programs::path(case.program), format!("bare {}", case.body)),
            Contestant::Before => (programs::beside(before?, case.program)?, case.body.to_owned()),
        };
        Some((program, body))
    }
}
