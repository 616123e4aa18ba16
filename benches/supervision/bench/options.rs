//! What the command line asks for.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct Options {
    pub rounds: usize,
    /// How long what happens at rest is watched.
    pub idle: Duration,
    /// Rounds of the slow comparison with other servers.
    pub peer_rounds: usize,
    /// The contender `pool`, built with an earlier prefork.
    pub before: Option<PathBuf>,
    /// Whether the guide is to get the tables and the chart.
    pub write: bool,
    quick: bool,
    /// Words of which a row must have one; none: every row.
    rows: Vec<String>,
}

impl Options {
    pub fn read(arguments: &[String]) -> Options {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let mut options = Options {
            rounds: if quick { 4 } else { 20 },
            idle: Duration::from_secs(if quick { 2 } else { 10 }),
            peer_rounds: 0,
            before: None,
            write: false,
            quick,
            rows: Vec::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" | "--quick" => {}
                "--rounds" => {
                    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
                    options.rounds = rounds.filter(|&rounds| rounds > 0).expect("--rounds takes a number");
                }
                "--before" => {
                    let path = arguments.next().expect("--before takes the path of a contender `pool`");
                    options.before = Some(executable(path));
                }
                "--write" => options.write = true,
                option if option.starts_with('-') => panic!("no option is called {option}"),
                word => options.rows.push(word.to_owned()),
            }
        }
        assert!(
            !options.write || options.rows.is_empty(),
            "--write writes all rows: leave out the words that select some"
        );
        if options.wants_slow("peers") {
            options.peer_rounds = options.rounds.div_ceil(4);
        }
        options
    }

    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|word| row.contains(word.as_str()))
    }

    /// A quick run has slow rows only if they are asked for.
    pub fn wants_slow(&self, row: &str) -> bool {
        self.wants(row) && (!self.quick || self.write || !self.rows.is_empty())
    }
}

/// Cargo runs a benchmark in its package; a path is meant from where cargo was called.
fn executable(path: &str) -> PathBuf {
    let called_in = env::var_os("PWD").unwrap_or_default();
    let path = Path::new(&called_in).join(path);
    assert!(path.is_file(), "--before: there is no {}", path.display());
    path
}
