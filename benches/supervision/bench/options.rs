//! What the command line asks for.

use std::time::Duration;

pub struct Options {
    pub rounds: usize,
    /// How long what happens at rest is watched.
    pub idle: Duration,
    /// Rounds of the slow comparison with other servers.
    pub peer_rounds: usize,
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
                option if option.starts_with('-') => panic!("no option is called {option}"),
                word => options.rows.push(word.to_owned()),
            }
        }
        if options.rows.iter().any(|word| word == "peers") || options.rows.is_empty() && !quick {
            options.peer_rounds = options.rounds.div_ceil(4);
        }
        options
    }

    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|word| row.contains(word.as_str()))
    }
}
