//! The `PREFORK…` variables: which there are, and what they say.
//!
//! It must not know what wins over what: the settings are made of what it has read.

use super::settings::{ROWS, Row, Values};
use crate::error::Error;
use crate::grammar::{self, for_each_option};
use crate::listen;
use crate::notify;
use crate::sys;
use crate::trust;
use crate::upgrade::{self, Launch};

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
    /// Every variable that is ours, known or not, or announces sockets: workers do not see them.
    pub(crate) variables: Vec<String>,
    /// How this program was started.
    pub(crate) launch: Launch,
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
    pub(super) fn read() -> Result<Self, Error> {
        // Before there is a line, so that a signal handler can write one.
        sys::recognize_journal();
        let mut environment = Environment { launch: Launch::of_this_program(), ..Environment::default() };
        let inherited = listen::VARIABLES.into_iter().filter(|name| std::env::var_os(name).is_some());
        environment.variables.extend(inherited.map(str::to_owned));
        let ignored = !trust::in_options();
        let mut handed = None;
        let mut distrusted = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| is_ours(name)) else { continue };
            environment.variables.push(name.to_owned());
            if value.is_empty() {
                continue;
            }
            if ignored {
                distrusted.push(name.to_owned());
                continue;
            }
            let value = value.to_str().ok_or_else(|| Error::Environment {
                variable: name.to_owned(),
                reason: format!("{value:?} is not UTF-8 text"),
            })?;
            if name == upgrade::VARIABLE {
                handed = Some(value.to_owned());
                continue;
            }
            environment
                .read_one(name, value)
                .map_err(|reason| Error::Environment { variable: name.to_owned(), reason })?;
        }
        distrusted.extend(listen::distrusted().into_iter().chain(notify::distrusted()).map(str::to_owned));
        environment.warnings.extend(more_rights(distrusted));
        if let Some(number) = handed {
            upgrade::receive(&number, environment.mode == Mode::Check, &environment.launch)?;
            if upgrade::received().is_none() {
                environment.warnings.push(format!(
                    "{}={number} is ignored: it was handed to another process; unset it for the programs that this process \
                     starts",
                    upgrade::VARIABLE
                ));
            }
        }
        // What this process was started with, the binary before has handed over, if there was one.
        match &*upgrade::received() {
            Some(received) => listen::receive_again(received.inherited()?),
            None => environment.warnings.extend(listen::receive()?),
        }
        Ok(environment)
    }

    /// The variables that have a value which a process without workers does not use.
    pub(crate) fn unused_without_workers(&self) -> Vec<String> {
        self.given.iter().filter(|row| !row.without_workers).map(|row| variable(row.option)).collect()
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
    format!("PREFORK_{}", option.to_uppercase())
}

/// What to say of variables that are not believed.
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
    let linked = variable.ends_with("_SERVICE_HOST") || variable.ends_with("_PORT") || variable.contains("_PORT_");
    !linked || row(variable).is_some()
}

/// What to say of a `PREFORK_…` variable that no option has; `name` is what follows the prefix.
fn unknown_variable(name: &str) -> String {
    if let Some(option) = ATTRIBUTE_ONLY.iter().find(|option| option.to_uppercase() == name) {
        return format!("environment variable PREFORK_{name} is ignored: {option} is set in the code only");
    }
    let options: Vec<&str> = ROWS.iter().map(|row| row.option).collect();
    let advice = match grammar::nearest(name, &options) {
        Some(option) => format!("did you mean {}?", variable(option)),
        None => format!("known are PREFORK and PREFORK_ with {}", options.join(", ").to_uppercase()),
    };
    format!("environment variable PREFORK_{name} is unknown and ignored: {advice}")
}
