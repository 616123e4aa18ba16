//! What the command line asks for.

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};

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

/// The names of the rows follow.
const USAGE: &str = "\
Usage: cargo bench --bench supervision -- [OPTION]... [WORD]...

Measures what supervision costs, in ratios to a bare loop of fork and waitpid: all rows, or those that have one of the words
in their names.

  --rounds N      how often all is measured; 20, or 4 with --quick
  --quick         two minutes, and slow rows only where a word selects them
  --before PATH   beside an earlier prefork: its program `pool`, built as benches/supervision/main.rs says
  --write         measures all rows, and writes them into the guide
  --help          prints this

  cargo bench --bench supervision -- --quick restart
  cargo bench --bench supervision -- --rounds 60 stop burst
  cargo bench --bench supervision -- --before ../before/target/release/pool \"worker's life\"

Rows:
";

impl Options {
    /// `names` are those of all rows. None where the command line asks how to use it. The error says what is wrong.
    pub fn read(arguments: &[String], names: &[&str]) -> Result<Option<Options>, String> {
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
        // Cargo adds this one, at the end.
        let mut arguments = arguments.iter().filter(|argument| *argument != "--bench");
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => {}
                "--help" | "-h" => return Ok(None),
                "--rounds" => options.rounds = number(arguments.next())?,
                "--before" => {
                    options.before =
                        Some(program(arguments.next().ok_or("--before takes the path of a program `pool`")?)?);
                }
                "--write" => options.write = true,
                option if option.starts_with('-') => return Err(format!("there is no option {option}")),
                word if names.iter().any(|name| name.contains(word)) => options.rows.push(word.to_owned()),
                word => return Err(format!("no row has {word:?} in its name")),
            }
        }
        if options.write && !options.rows.is_empty() {
            return Err("--write writes all rows: leave out the words that select some".into());
        }
        if options.wants_slow("peers") {
            options.peer_rounds = options.rounds.div_ceil(4);
        }
        Ok(Some(options))
    }

    pub fn usage(names: &[&str]) -> String {
        USAGE.to_owned() + &names.iter().map(|name| format!("  {name}\n")).collect::<String>()
    }

    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|word| row.contains(word.as_str()))
    }

    /// A quick run has slow rows only if they are asked for.
    pub fn wants_slow(&self, row: &str) -> bool {
        self.wants(row) && (!self.quick || self.write || !self.rows.is_empty())
    }
}

fn number(argument: Option<&String>) -> Result<usize, String> {
    let number = argument.and_then(|argument| usize::from_str(argument).ok());
    number.filter(|&number| number > 0).ok_or("--rounds takes a whole number above 0".into())
}

/// Cargo runs a benchmark in its package; a path is meant from where cargo was called.
fn program(path: &str) -> Result<PathBuf, String> {
    let called_in = env::var_os("PWD").unwrap_or_default();
    let path = Path::new(&called_in).join(path);
    if path.is_file() && access(&path, AccessFlags::X_OK).is_ok() {
        Ok(path)
    } else {
        Err(format!("--before: {} is no program", path.display()))
    }
}
