//! What the command line asks for. It must not know what is measured.

use std::str::FromStr;

#[derive(Default)]
pub struct Options {
    pub quick: bool,
    pub rounds: Option<usize>,
    pub workers: Option<usize>,
    /// None: all.
    pub rows: Vec<String>,
}

/// The names of the rows follow.
const USAGE: &str = "\
Usage: cargo bench --bench listeners -- [OPTION]... [ROW]...

Measures what sockets cost and how connections are spread, in ratios: all rows, or those that are named.

  --rounds N    how often all is measured; 9, or 2 with --quick
  --workers N   how many workers or threads each contender has; one for each CPU
  --quick       a minute
  --help        prints this

  cargo bench --bench listeners -- --quick kept \"new, 2\"
  cargo bench --bench listeners -- --rounds 20 --workers 4

Rows: ";

impl Options {
    /// `names` are those of all rows. None where the command line asks how to use it. The error says what is wrong.
    pub fn read(arguments: &[&str], names: &[&str]) -> Result<Option<Options>, String> {
        let mut options = Options::default();
        // Cargo adds this one, at the end.
        let mut arguments = arguments.iter().filter(|argument| **argument != "--bench");
        while let Some(&argument) = arguments.next() {
            match argument {
                "--help" | "-h" => return Ok(None),
                "--quick" => options.quick = true,
                "--rounds" => options.rounds = Some(number(argument, arguments.next())?),
                "--workers" => options.workers = Some(number(argument, arguments.next())?),
                option if option.starts_with('-') => return Err(format!("there is no option {option}")),
                row if names.contains(&row) => options.rows.push(row.to_owned()),
                row => return Err(format!("there is no row {row:?}")),
            }
        }
        Ok(Some(options))
    }

    pub fn usage(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        USAGE.to_owned() + &names.join(" ")
    }

    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|name| name == row)
    }
}

fn number(option: &str, argument: Option<&&str>) -> Result<usize, String> {
    let number = argument.and_then(|argument| usize::from_str(argument).ok());
    number.filter(|&number| number > 0).ok_or(format!("{option} takes a whole number above 0"))
}
