//! The `PREFORK…` variables: which there are, and what they say.
//!
//! It must not know what wins over what: the settings are made of what it has read.

use super::settings::Values;
use crate::error::Error;
use crate::grammar;
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
    /// The options that have a value, as they are called after `PREFORK_`.
    options: Vec<&'static str>,
    pub(crate) warnings: Vec<String>,
    /// Every variable that is ours, known or not, or announces sockets: workers do not see them.
    pub(crate) variables: Vec<String>,
    /// How this program was started.
    pub(crate) launch: Launch,
}

/// The options that have a variable: its name after `PREFORK_`, and what reads it.
const OPTIONS: &[(&str, Read)] = &[
    ("WORKERS", |values, text| grammar::workers(text).map(|value| values.workers = Some(value))),
    ("MAX_RESTARTS", |values, text| grammar::max_restarts(text).map(|value| values.max_restarts = Some(value))),
    ("RESTART_WINDOW", |values, text| {
        let value = grammar::optional_duration(text).and_then(grammar::restart_window);
        value.map(|value| values.restart_window = Some(value))
    }),
    ("RESTART", |values, text| grammar::restart(text).map(|value| values.restart = Some(value))),
    ("GRACEFUL_TIMEOUT", |values, text| grammar::duration(text).map(|value| values.graceful_timeout = Some(value))),
    ("BACKOFF", |values, text| grammar::backoff(text).map(|value| values.backoff = Some(value))),
    ("LISTEN", |values, text| grammar::addresses(text).map(|value| values.listen = Some(value))),
    ("REUSE_PORT", |values, text| grammar::reuse_port(text).map(|value| values.reuse_port = Some(value))),
    ("READY_TIMEOUT", |values, text| {
        let value = grammar::optional_duration(text).and_then(grammar::ready_timeout);
        value.map(|value| values.ready_timeout = Some(value))
    }),
    ("HEARTBEAT_TIMEOUT", |values, text| {
        let value = grammar::optional_duration(text).and_then(grammar::heartbeat_timeout);
        value.map(|value| values.heartbeat_timeout = Some(value))
    }),
    ("MAX_LIFETIME", |values, text| {
        let value = grammar::optional_duration(text).and_then(grammar::max_lifetime);
        value.map(|value| values.max_lifetime = Some(value))
    }),
    ("MAX_MEMORY", |values, text| grammar::max_memory(text).map(|value| values.max_memory = Some(value))),
    ("RELOAD", |values, text| grammar::reload(text).map(|value| values.reload = Some(value))),
    ("USER", |values, text| grammar::account(text).map(|value| values.user = Some(value))),
    ("GROUP", |values, text| grammar::account(text).map(|value| values.group = Some(value))),
    ("NO_NEW_PRIVS", |values, text| grammar::no_new_privs(text).map(|value| values.no_new_privs = Some(value))),
];

/// What `PREFORK=off` needs of them.
const WITHOUT_WORKERS: &[&str] = &["LISTEN", "REUSE_PORT", "USER", "GROUP", "NO_NEW_PRIVS"];

type Read = fn(&mut Values, &str) -> Result<(), String>;

/// Options of the attribute that have neither a method nor a variable.
const ATTRIBUTE_ONLY: &[&str] = &["PRELOAD", "CRATE"];

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
        let unused = self.options.iter().filter(|option| !WITHOUT_WORKERS.contains(option));
        unused.map(|option| format!("PREFORK_{option}")).collect()
    }

    pub(super) fn read_one(&mut self, variable: &str, value: &str) -> Result<(), String> {
        let Some(option) = variable.strip_prefix("PREFORK_") else {
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
        match OPTIONS.iter().find(|(name, _)| *name == option) {
            Some((name, read)) => {
                self.options.push(name);
                read(&mut self.values, value)
            }
            None => {
                self.warnings.push(unknown_variable(option));
                Ok(())
            }
        }
    }
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
    let Some(option) = variable.strip_prefix("PREFORK_") else { return variable == "PREFORK" };
    let linked = variable.ends_with("_SERVICE_HOST") || variable.ends_with("_PORT") || variable.contains("_PORT_");
    !linked || OPTIONS.iter().any(|&(name, _)| name == option)
}

/// What to say of a `PREFORK_…` variable that no option has.
fn unknown_variable(option: &str) -> String {
    if ATTRIBUTE_ONLY.contains(&option) {
        let argument = option.to_lowercase();
        return format!("environment variable PREFORK_{option} is ignored: {argument} is set in the code only");
    }
    let known: Vec<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
    let advice = match grammar::nearest(option, &known) {
        Some(name) => format!("did you mean PREFORK_{name}?"),
        None => format!("known are PREFORK and PREFORK_ with {}", known.join(", ")),
    };
    format!("environment variable PREFORK_{option} is unknown and ignored: {advice}")
}
