//! The `PREFORK…` variables: which there are, and what they say.
//!
//! It must not know what wins over what: the settings are made of what it has read.

use std::ffi::OsString;

use super::settings::{ROWS, Row, Values};
use crate::error::Error;
use crate::grammar::{self, Foreign, for_each_option};
use crate::upgrade;

/// What `PREFORK` asks for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    On,
    /// The body runs in this process, as task 0 of 1.
    Off,
    /// Everything up to the first fork, then exit.
    Check,
}

/// What the `PREFORK…` variables say.
#[derive(Default)]
pub(crate) struct Environment {
    pub(crate) mode: Mode,
    pub(crate) values: Values,
    /// The options that have a value, whatever it is.
    given: Vec<&'static Row>,
    pub(crate) warnings: Vec<String>,
    /// Every `PREFORK…` variable, known or not. Workers do not see them.
    pub(crate) variables: Vec<String>,
    /// `PREFORK` has a value, whether it can be read or not.
    pub(crate) has_mode: bool,
    /// The value of `PREFORK_UPGRADE`.
    pub(crate) handoff: Option<String>,
    /// The variables that have a value and are not trusted.
    distrusted: Vec<String>,
}

macro_rules! name_attribute_only {
    ($($(#[doc = $doc:literal])+ $option:ident: $type:ty { $($row:tt)* })+ only the attribute $(
        $(#[doc = $only_doc:literal])+
        $only:ident { $($only_row:tt)* }
    )+) => {
        /// Options of the attribute that have neither a method nor a variable.
        const ATTRIBUTE_ONLY: &[&str] = &[$(stringify!($only)),+];
    };
}
for_each_option!(name_attribute_only);

impl Environment {
    /// Reads these variables. `is_trusted`: the program has no more rights than its caller. With an error, the first
    /// one, the rest has been read all the same.
    pub(super) fn read(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        is_trusted: bool,
    ) -> (Environment, Result<(), Error>) {
        let mut environment = Environment::default();
        let mut result = Ok(());
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| is_ours(name)) else { continue };
            environment.variables.push(name.to_owned());
            if value.is_empty() {
                continue;
            }
            if !is_trusted {
                environment.distrusted.push(name.to_owned());
                continue;
            }
            environment.has_mode |= name == "PREFORK";
            let read = match value.to_str() {
                Some(value) => environment.read_one(name, value),
                None => Err(format!("{value:?} is not UTF-8 text")),
            };
            let read = read.map_err(|reason| Error::Environment { variable: name.to_owned(), reason });
            result = result.and(read);
        }
        (environment, result)
    }

    /// Warns of the variables that are not trusted, and of these others.
    pub(super) fn warn_of_distrusted(&mut self, others: impl Iterator<Item = &'static str>) {
        let mut distrusted = self.distrusted.clone();
        for other in others {
            distrusted.push(other.to_owned());
        }
        if let Some(warning) = more_rights(distrusted) {
            self.warnings.push(warning);
        }
    }

    /// The variables that have a value which a process without workers does not use.
    pub(crate) fn unused_without_workers(&self) -> Vec<String> {
        let mut unused = Vec::new();
        for row in &self.given {
            if !row.without_workers {
                unused.push(variable(row.option));
            }
        }
        unused
    }

    pub(super) fn read_one(&mut self, variable: &str, value: &str) -> Result<(), String> {
        let Some(name) = variable.strip_prefix("PREFORK_") else {
            self.mode = match value {
                "off" => Mode::Off,
                "check" => Mode::Check,
                _ => {
                    return Err(format!(
                        "{value:?} is not accepted: \"off\" runs main in this process without forking, \"check\" checks \
                         the configuration and exits; leave it unset to start workers"
                    ));
                }
            };
            return Ok(());
        };
        if variable == upgrade::VARIABLE {
            self.handoff = Some(value.to_owned());
            return Ok(());
        }
        match row(variable) {
            Some(row) => {
                self.given.push(row);
                (row.read)(&mut self.values, value)
            }
            None => {
                self.warnings.push(unknown_variable(name));
                Ok(())
            }
        }
    }
}

fn row(variable: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| self::variable(row.option) == variable)
}

/// `PREFORK_WORKERS` for `workers`.
fn variable(option: &str) -> String {
    format!("PREFORK_{}", option.to_ascii_uppercase())
}

/// The warning about variables that are not trusted.
fn more_rights(variables: Vec<String>) -> Option<String> {
    if variables.is_empty() {
        return None;
    }
    Some(format!(
        "ignored, because this program has more rights than its caller (set-user-ID, file capabilities), who could gain \
         by them: {}; to have them read, take the rights from the file (setcap -r), and give them in the unit: \
         AmbientCapabilities=, or User= for another user",
        variables.join(", ")
    ))
}

/// Whether a variable is meant for us; not those that container links make, which are named after a service that
/// happens to be called prefork, and are there for the workers.
fn is_ours(variable: &str) -> bool {
    if !variable.starts_with("PREFORK_") {
        return variable == "PREFORK";
    }
    let linked =
        variable.ends_with("_SERVICE_HOST") || variable.ends_with("_PORT") || variable.split_once("_PORT_").is_some();
    !linked || row(variable).is_some()
}

/// What to say of a `PREFORK_…` variable that no option has; `name` is what follows the prefix.
fn unknown_variable(name: &str) -> String {
    if let Some(option) = ATTRIBUTE_ONLY.iter().find(|option| option.to_ascii_uppercase() == name) {
        return format!("environment variable PREFORK_{name} is ignored: {option} is set in the code only");
    }
    let mut options: Vec<&str> = Vec::new();
    for row in ROWS {
        options.push(row.option);
    }
    let advice = match (grammar::foreign(name), grammar::nearest(name, &options)) {
        (Some(Foreign::Is(option)), _) if ATTRIBUTE_ONLY.contains(&option) => {
            format!("{option} is set in the code only")
        }
        (Some(Foreign::Is(option)), _) | (None, Some(option)) => format!("did you mean {}?", variable(option)),
        (Some(Foreign::Do(advice)), _) => advice.to_owned(),
        (None, None) => format!("known are PREFORK and PREFORK_ with {}", options.join(", ").to_ascii_uppercase()),
    };
    format!("environment variable PREFORK_{name} is unknown and ignored: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], is_trusted: bool) -> (Environment, Result<(), String>) {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let (environment, result) = Environment::read(variables, is_trusted);
        (environment, result.map_err(|error| error.to_string()))
    }

    #[test]
    fn only_variables_of_prefork_are_read() {
        let (environment, result) = read(
            &[
                ("PREFORK_WORKERS", "3"),
                ("PREFORK", "check"),
                ("WORKERS", "x"),
                ("PREFORKED", "x"),
                ("PREFORK_PORT", "x"),
            ],
            true,
        );
        assert_eq!((result, environment.variables), (Ok(()), vec!["PREFORK_WORKERS".to_owned(), "PREFORK".to_owned()]));
        assert!(environment.mode == Mode::Check && environment.has_mode && environment.warnings.is_empty());
    }

    #[test]
    fn what_comes_after_a_mistake_is_read_too() {
        let variables =
            [("PREFORK_WORKERS", "some"), ("PREFORK_RELOAD", "x"), ("PREFORK", "off"), ("PREFORK_UPGRADE", "7")];
        let (environment, result) = read(&variables, true);
        assert!(result.is_err_and(|why| why.starts_with("environment variable PREFORK_WORKERS: ")));
        assert!(environment.mode == Mode::Off && environment.handoff.as_deref() == Some("7"));
    }

    #[test]
    fn a_word_of_another_program_is_named_with_what_it_is_here() {
        for (name, advice) in [
            ("BIND", "did you mean PREFORK_LISTEN?"),
            ("PROCESSES", "did you mean PREFORK_WORKERS?"),
            ("THREADS", "`workers` is the number of processes"),
            ("PRELOAD_APP", "preload is set in the code only"),
            ("WORKRS", "did you mean PREFORK_WORKERS?"),
            ("COLOUR", "known are PREFORK and PREFORK_ with WORKERS"),
        ] {
            let line = unknown_variable(name);
            assert!(
                line.starts_with(&format!("environment variable PREFORK_{name} is unknown and ignored: {advice}")),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_not_trusted_is_not_read() {
        let (mut environment, result) =
            read(&[("PREFORK_WORKERS", "some"), ("PREFORK", "off"), ("PREFORK_USER", "")], false);
        assert!(result.is_ok() && environment.mode == Mode::On && !environment.has_mode);
        environment.warn_of_distrusted(["LISTEN_FDS"].into_iter());
        let [warning] = &environment.warnings[..] else { panic!("one line") };
        assert!(warning.contains(": PREFORK_WORKERS, PREFORK, LISTEN_FDS; "), "{warning}");
    }
}
