//! Other servers with workers, against the limit: those that are installed.
//!
//! They cannot report. So each is watched from outside, and with them the limit and prefork: a worker counts as soon as it
//! is forked, although an interpreter has much to do then until it can work.

mod servers;
mod watched;

use std::array;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::prctl::{set_child_subreaper, set_timerslack};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::figures::{Unit, highest, lowest, median};
use super::rows::nothing;
use super::table::Table;
use servers::{SERVERS, Server};
use watched::Watched;

pub const COUNT: usize = SERVERS.len();

const SETTLE: Duration = Duration::from_millis(20);

/// Workers that are killed one after another, in a round.
const RESTARTS: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    Restart,
    Burst,
    Stop,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Start => "start",
            Action::Restart => "restart",
            Action::Burst => "burst",
            Action::Stop => "stop",
        }
    }
}

/// A server is started with this many workers, and what follows is measured of it, in this order.
struct Visit {
    workers: usize,
    actions: &'static [Action],
    /// In which rounds: every round, every second one and so on.
    every: usize,
}

const VISITS: [Visit; 5] = [
    Visit { workers: 2, actions: &[Action::Start, Action::Restart], every: 1 },
    Visit { workers: 16, actions: &[Action::Start, Action::Restart], every: 1 },
    Visit { workers: 128, actions: &[Action::Start, Action::Restart, Action::Burst, Action::Stop], every: 1 },
    Visit { workers: 1024, actions: &[Action::Start, Action::Restart], every: 2 },
    Visit { workers: 4096, actions: &[Action::Start, Action::Restart], every: 2 },
];

/// What was measured of each server, the limit first: the samples of each round; none where it is not installed or
/// cannot do it.
pub struct PeerRow {
    pub action: Action,
    pub workers: usize,
    rounds: [Vec<Vec<f64>>; COUNT],
}

/// A server, and where it was measured, the number of workers and the median in nanoseconds.
pub type Series = (&'static str, Vec<(f64, f64)>);

/// The rows of this many rounds. Names the servers that are not installed, and calls `begin` before each visit. It comes
/// last: it changes what processes inherit from this one.
pub fn compare(rounds: usize, begin: impl Fn(&str)) -> Vec<PeerRow> {
    if rounds == 0 {
        return Vec::new();
    }
    let programs = SERVERS.map(|server| (server.find)());
    for (server, _) in SERVERS.iter().zip(&programs).filter(|(_, program)| program.is_none()) {
        println!("not measured, as it is not installed: {} ({})", server.name, server.package);
    }
    prepare();
    let directory = Directory::new();
    let mut rows = rows();
    for round in 0..rounds {
        for turn in 0..COUNT {
            let which = (round + turn) % COUNT;
            let server = &SERVERS[which];
            let Some(program) = &programs[which] else { continue };
            for visit in VISITS.iter().filter(|visit| server.receives(visit, round)) {
                begin(&format!("peers, round {} of {rounds}: {}, {}", round + 1, server.name, visit.workers));
                let mut add = |action, samples| {
                    let row = rows.iter_mut().find(|row| row.action == action && row.workers == visit.workers);
                    row.expect("each action has a row").rounds[which].push(samples);
                };
                if let Err(reason) = measure(visit, server, program, &directory.0, &mut add) {
                    println!("{} with {} workers: {reason}", server.name, visit.workers);
                }
                sleep(SETTLE);
            }
        }
    }
    rows
}

/// A row for each action: what takes longest comes last.
fn rows() -> Vec<PeerRow> {
    let actions = [Action::Start, Action::Restart, Action::Burst, Action::Stop];
    let of_action = |action| {
        let visits = VISITS.iter().filter(move |visit| visit.actions.contains(&action));
        visits.map(move |visit| PeerRow { action, workers: visit.workers, rounds: Default::default() })
    };
    actions.into_iter().flat_map(of_action).collect()
}

impl Server {
    fn receives(&self, visit: &Visit, round: usize) -> bool {
        round % (self.every * visit.every) == 0 && visit.workers <= self.most_workers
    }
}

/// Starts a server, and measures each action of the visit; it is gone at the end.
fn measure(
    visit: &Visit,
    server: &Server,
    program: &Path,
    directory: &Path,
    add: &mut impl FnMut(Action, Vec<f64>),
) -> Result<(), String> {
    let command = (server.command)(program, directory, visit.workers);
    let (mut watched, start_time) = Watched::start(command, visit.workers)?;
    for &action in visit.actions {
        match action {
            Action::Start => add(action, vec![start_time]),
            Action::Restart => {
                let mut restart = || {
                    sleep(SETTLE);
                    watched.replace(1)
                };
                add(action, (0..RESTARTS).map(|_| restart()).collect::<Result<_, _>>()?);
            }
            Action::Burst => {
                sleep(SETTLE);
                add(action, vec![watched.replace(visit.workers)?]);
            }
            Action::Stop if !server.stops_its_workers => {}
            Action::Stop => {
                sleep(SETTLE);
                add(action, vec![watched.stop()?]);
            }
        }
    }
    Ok(())
}

/// Workers that lose their server become children of this process, which so can find and end each of them. It wakes when
/// it asked to. Servers are let have the descriptors that the hard limit allows: nginx has two for each worker.
fn prepare() {
    set_child_subreaper(true).expect("prctl(2)");
    set_timerslack(watched::EXACT_SLACK).expect("prctl(2)");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit(2)");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the hard limit allows it");
}

impl PeerRow {
    pub fn table(rows: &[PeerRow]) -> Table {
        let mut table = Table::new(["median", "N"].into_iter().chain(SERVERS.map(|server| server.name)));
        for row in rows {
            let cells = [row.action.name().to_owned(), row.workers.to_string()].into_iter();
            table.push(cells.chain(row.cells()).collect());
        }
        table
    }

    pub fn series(rows: &[PeerRow], action: Action) -> [Series; COUNT] {
        let rows = || rows.iter().filter(|row| row.action == action);
        array::from_fn(|server| {
            let measured = rows().filter(|row| !row.rounds[server].is_empty());
            let points = measured.map(|row| (row.workers as f64, median(row.rounds[server].concat())));
            (SERVERS[server].name, points.collect())
        })
    }

    /// The limit's time, and of each other its median over the limit's, with the lowest and the highest of a round.
    fn cells(&self) -> [String; COUNT] {
        let limit = &self.rounds[0];
        let mut cells = self.rounds.each_ref().map(|rounds| {
            if rounds.is_empty() || limit.is_empty() {
                return nothing();
            }
            let of_limit = median(limit.concat());
            let ratio = |time: f64| short(time / of_limit);
            let medians: Vec<f64> = rounds.iter().map(|round| median(round.clone())).collect();
            format!("{} ({}..{})", ratio(median(rounds.concat())), ratio(lowest(&medians)), ratio(highest(&medians)))
        });
        if !limit.is_empty() {
            cells[0] = Unit::Time.write(median(limit.concat()));
        }
        cells
    }
}

/// With as many digits as say something.
fn short(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

/// A directory for configuration files and sockets, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = env::temp_dir().join(format!("prefork-bench-{}", process::id()));
        fs::create_dir(&path).expect("a new directory");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
