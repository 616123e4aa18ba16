//! The options: their values, defaults and environment overrides, and the one place that rejects a value.
//!
//! It must not know processes: what an option does is decided where it is used.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use crate::error::Error;
use crate::grammar::{self, Backoff};
use crate::sys;
use crate::worker::Needs;

/// Starts and supervises the workers: the builder that `#[prefork]` expands to a call of.
///
/// One method per option, with the name and default that the attribute's argument has. A value that cannot be used
/// is reported by [`start`](Self::start) and [`run`](Self::run), before anything is forked, with exit status 2. The
/// environment variable of an option (`PREFORK_WORKERS` for `workers`, and so on) wins over the value given here; it
/// is read by [`new`](Self::new).
///
/// ```no_run
/// use std::process::ExitCode;
/// use prefork_rt::Prefork;
///
/// fn main() -> ExitCode {
///     Prefork::new().workers(4).max_restarts(100).run(|worker| {
///         println!("worker {} of {}", worker.task_id(), worker.workers());
///     })
/// }
/// ```
#[must_use = "nothing is started before `run` or `start` is called"]
pub struct Prefork {
    pub(crate) code: Values,
    pub(crate) environment: Environment,
    pub(crate) needs: Vec<Needs>,
    pub(crate) error: Option<Error>,
}

/// What was given for each option, in the code or in the environment.
#[derive(Default)]
pub(crate) struct Values {
    pub(crate) workers: Option<Option<usize>>,
    pub(crate) max_restarts: Option<Option<usize>>,
    pub(crate) graceful_timeout: Option<Duration>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) listen: Option<Vec<SocketAddr>>,
}

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
    pub(crate) warnings: Vec<String>,
    /// Every variable that is ours, known or not: workers do not see them.
    pub(crate) variables: Vec<String>,
}

/// The values to run with.
pub(crate) struct Settings {
    pub(crate) workers: usize,
    /// Why that many.
    pub(crate) workers_because: String,
    pub(crate) max_restarts: Option<usize>,
    pub(crate) graceful_timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) listen: Vec<SocketAddr>,
}

const DEFAULT_MAX_RESTARTS: usize = 100;
const DEFAULT_GRACEFUL_TIMEOUT: Duration = Duration::from_secs(25);
const DEFAULT_BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };

/// The options that have a variable: its name after `PREFORK_`, and what reads it.
const OPTIONS: &[(&str, Read)] = &[
    ("WORKERS", |values, text| grammar::workers(text).map(|value| values.workers = Some(value))),
    ("MAX_RESTARTS", |values, text| grammar::max_restarts(text).map(|value| values.max_restarts = Some(value))),
    ("GRACEFUL_TIMEOUT", |values, text| grammar::duration(text).map(|value| values.graceful_timeout = Some(value))),
    ("BACKOFF", |values, text| grammar::backoff(text).map(|value| values.backoff = Some(value))),
    ("LISTEN", |values, text| grammar::addresses(text).map(|value| values.listen = Some(value))),
];

type Read = fn(&mut Values, &str) -> Result<(), String>;

/// Options of the attribute that have neither a method nor a variable.
const ATTRIBUTE_ONLY: &[&str] = &["PRELOAD", "CRATE"];

impl Prefork {
    /// All options at their defaults, but for what the `PREFORK_…` environment variables say, which are read here.
    ///
    /// A variable that cannot be used is reported by [`start`](Self::start) and [`run`](Self::run).
    pub fn new() -> Self {
        let (environment, error) = match Environment::read() {
            Ok(environment) => (environment, None),
            Err(error) => (Environment::default(), Some(error)),
        };
        Prefork { code: Values::default(), environment, needs: Vec::new(), error }
    }

    /// How many workers: a `usize`, a [`NonZeroUsize`] or `"auto"`. Default: `"auto"`.
    ///
    /// 0 and `"auto"` mean [`cpu_count()`](crate::cpu_count), as in Tornado; more than 4,194,304, the most processes
    /// that Linux can have, are refused. Environment: `PREFORK_WORKERS`.
    pub fn workers(mut self, workers: impl IntoWorkers) -> Self {
        self.code.workers = self.accept("workers", workers.into_workers());
        self
    }

    /// How many abnormal exits are replaced, over all workers and for the lifetime of the supervisor, before giving
    /// up: a `usize` or `"unlimited"`. Default: 100, as in Tornado.
    ///
    /// The exit that is one too many stops the other workers gracefully; the exit status is then 1. 0 replaces none.
    /// Environment: `PREFORK_MAX_RESTARTS`.
    pub fn max_restarts(mut self, max_restarts: impl IntoMaxRestarts) -> Self {
        self.code.max_restarts = self.accept("max_restarts", max_restarts.into_max_restarts());
        self
    }

    /// From SIGTERM to SIGKILL when workers are stopped: a [`Duration`] or a string such as `"25s"`. Default: 25 s.
    ///
    /// `"0s"` gives no time at all. Under Kubernetes keep `terminationGracePeriodSeconds` at least 5 s longer; `docker stop` waits 10 s unless told
    /// otherwise. Environment: `PREFORK_GRACEFUL_TIMEOUT`.
    pub fn graceful_timeout(mut self, graceful_timeout: impl IntoDuration) -> Self {
        self.code.graceful_timeout = self.accept("graceful_timeout", graceful_timeout.into_duration());
        self
    }

    /// How long to wait before a restart, per task id: a string such as `"100ms..1s"`, a range of [`Duration`]s, or
    /// one duration for a delay that does not grow. Either kind of range includes its end. Default: `"100ms..1s"`; `"0s"` never waits.
    ///
    /// The first replacement is immediate. When that one too ends abnormally within 10 s of its start, the next waits
    /// the first delay, and each further one twice as long as the one before, up to the longest; up to a quarter is
    /// added at random, never beyond the longest, so that workers that failed together do not return together. A
    /// worker that lived 10 s is forgiven. Environment: `PREFORK_BACKOFF`.
    pub fn backoff(mut self, backoff: impl IntoBackoff) -> Self {
        self.code.backoff = self.accept("backoff", backoff.into_backoff());
        self
    }

    /// TCP addresses to listen on: a string (`"127.0.0.1:8080"`, `"[::]:80"`; several comma-separated), a
    /// [`SocketAddr`], or an array, slice or `Vec` of either. Default: none, which `"none"` and `None` mean too.
    ///
    /// Bound once, before the first fork; a worker takes its listener as an argument of type
    /// [`std::net::TcpListener`], or with [`Worker::get`](crate::Worker::get). With port 0 the system chooses the port,
    /// which is logged. The listener is in blocking mode: call
    /// [`set_nonblocking(true)`](std::net::TcpListener::set_nonblocking) before handing it to an async runtime. An
    /// address in use is tried again for 2 s, then the exit status is 1. `[::]` serves IPv4 too, unless the list has an
    /// IPv4 address with the same port. Environment: `PREFORK_LISTEN`.
    pub fn listen(mut self, listen: impl IntoListen) -> Self {
        self.code.listen = self.accept("listen", listen.into_listen());
        self
    }

    fn accept<V>(&mut self, name: &'static str, value: Result<V, String>) -> Option<V> {
        match value {
            Ok(value) => Some(value),
            Err(reason) => {
                self.error.get_or_insert(Error::Option { name, reason });
                None
            }
        }
    }
}

impl Default for Prefork {
    fn default() -> Self {
        Prefork::new()
    }
}

impl Settings {
    /// The environment's values, else the code's, else the defaults.
    pub(crate) fn new(environment: Values, code: Values) -> Settings {
        let (workers, workers_because) = match (environment.workers, code.workers) {
            (Some(Some(workers)), _) => (workers, format!("PREFORK_WORKERS={workers}")),
            (None, Some(Some(workers))) => (workers, format!("workers = {workers}")),
            _ => crate::cpu::count_and_why(),
        };
        let graceful_timeout = environment.graceful_timeout.or(code.graceful_timeout);
        Settings {
            workers,
            workers_because,
            max_restarts: environment.max_restarts.or(code.max_restarts).unwrap_or(Some(DEFAULT_MAX_RESTARTS)),
            graceful_timeout: graceful_timeout.unwrap_or(DEFAULT_GRACEFUL_TIMEOUT),
            backoff: environment.backoff.or(code.backoff).unwrap_or(DEFAULT_BACKOFF),
            listen: environment.listen.or(code.listen).unwrap_or_default(),
        }
    }
}

impl Environment {
    fn read() -> Result<Self, Error> {
        let mut environment = Environment::default();
        let ignored = sys::is_privileged_start();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| is_ours(name)) else { continue };
            environment.variables.push(name.to_owned());
            if value.is_empty() || ignored {
                continue;
            }
            let value = value.to_str().ok_or_else(|| Error::Environment {
                variable: name.to_owned(),
                reason: format!("{value:?} is not UTF-8 text"),
            })?;
            environment
                .read_one(name, value)
                .map_err(|reason| Error::Environment { variable: name.to_owned(), reason })?;
        }
        Ok(environment)
    }

    fn read_one(&mut self, variable: &str, value: &str) -> Result<(), String> {
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
            Some((_, read)) => read(&mut self.values, value),
            None => {
                self.warnings.push(unknown_variable(option));
                Ok(())
            }
        }
    }
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

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

impl Sealed for usize {}
impl Sealed for NonZeroUsize {}
impl Sealed for &str {}
impl Sealed for &String {}
impl Sealed for String {}
impl Sealed for Duration {}
impl Sealed for Range<Duration> {}
impl Sealed for RangeInclusive<Duration> {}
impl Sealed for SocketAddr {}
impl<T: IntoListen, const N: usize> Sealed for [T; N] {}
impl<T: IntoListen + Clone, const N: usize> Sealed for &[T; N] {}
impl<T: IntoListen + Clone> Sealed for &[T] {}
impl<T: IntoListen + Clone> Sealed for &Vec<T> {}
impl Sealed for Option<&str> {}
impl<T: IntoListen> Sealed for Vec<T> {}

/// What [`Prefork::workers`] takes: `usize`, [`NonZeroUsize`], or a string (`"auto"` or a number).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a number of workers",
    label = "expected `usize`, `NonZeroUsize` or `\"auto\"`"
)]
pub trait IntoWorkers: Sealed {
    #[doc(hidden)]
    fn into_workers(self) -> Result<Option<usize>, String>;
}

/// What [`Prefork::max_restarts`] takes: `usize`, or a string (`"unlimited"` or a number).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a number of restarts",
    label = "expected `usize` or `\"unlimited\"`"
)]
pub trait IntoMaxRestarts: Sealed {
    #[doc(hidden)]
    fn into_max_restarts(self) -> Result<Option<usize>, String>;
}

/// What takes a duration: a [`Duration`], or a string such as `"250ms"`, `"30s"`, `"5m"` or `"1h"`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a duration",
    label = "expected a `Duration` or a string such as `\"30s\"`"
)]
pub trait IntoDuration: Sealed {
    #[doc(hidden)]
    fn into_duration(self) -> Result<Duration, String>;
}

/// What [`Prefork::backoff`] takes: a string such as `"100ms..1s"`, a range of [`Duration`]s, or a `Duration`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a backoff",
    label = "expected a string such as `\"100ms..1s\"`, a range of `Duration`s or a `Duration`"
)]
pub trait IntoBackoff: Sealed {
    #[doc(hidden)]
    fn into_backoff(self) -> Result<Backoff, String>;
}

/// What [`Prefork::listen`] takes: a string, a [`SocketAddr`], or an array, slice or `Vec` of either; `"none"` and
/// `None` (as an `Option<&str>`) for no address.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as an address to listen on",
    label = "expected a string such as `\"127.0.0.1:8080\"`, a `SocketAddr`, or a list of either (for an `Option<String>`, add `.as_deref()`)"
)]
pub trait IntoListen: Sealed {
    #[doc(hidden)]
    fn into_listen(self) -> Result<Vec<SocketAddr>, String>;
}

impl IntoWorkers for usize {
    fn into_workers(self) -> Result<Option<usize>, String> {
        grammar::workers_counted(self)
    }
}

impl IntoWorkers for NonZeroUsize {
    fn into_workers(self) -> Result<Option<usize>, String> {
        grammar::workers_counted(self.get())
    }
}

impl IntoMaxRestarts for usize {
    fn into_max_restarts(self) -> Result<Option<usize>, String> {
        Ok(Some(self))
    }
}

impl IntoDuration for Duration {
    fn into_duration(self) -> Result<Duration, String> {
        Ok(self)
    }
}

impl IntoBackoff for Duration {
    fn into_backoff(self) -> Result<Backoff, String> {
        grammar::backoff_between(self, self)
    }
}

impl IntoBackoff for Range<Duration> {
    fn into_backoff(self) -> Result<Backoff, String> {
        grammar::backoff_between(self.start, self.end)
    }
}

impl IntoBackoff for RangeInclusive<Duration> {
    fn into_backoff(self) -> Result<Backoff, String> {
        grammar::backoff_between(*self.start(), *self.end())
    }
}

impl IntoListen for SocketAddr {
    fn into_listen(self) -> Result<Vec<SocketAddr>, String> {
        Ok(vec![self])
    }
}

impl<T: IntoListen, const N: usize> IntoListen for [T; N] {
    fn into_listen(self) -> Result<Vec<SocketAddr>, String> {
        all_of(self)
    }
}

impl<T: IntoListen + Clone, const N: usize> IntoListen for &[T; N] {
    fn into_listen(self) -> Result<Vec<SocketAddr>, String> {
        all_of(self.iter().cloned())
    }
}

impl<T: IntoListen + Clone> IntoListen for &[T] {
    fn into_listen(self) -> Result<Vec<SocketAddr>, String> {
        all_of(self.iter().cloned())
    }
}

impl<T: IntoListen + Clone> IntoListen for &Vec<T> {
    fn into_listen(self) -> Result<Vec<SocketAddr>, String> {
        all_of(self.iter().cloned())
    }
}

/// One type of option only, so that a plain `None` has a type.
impl IntoListen for Option<&str> {
    fn into_listen(self) -> Result<Vec<SocketAddr>, String> {
        self.map_or_else(|| Ok(Vec::new()), IntoListen::into_listen)
    }
}

impl<T: IntoListen> IntoListen for Vec<T> {
    fn into_listen(self) -> Result<Vec<SocketAddr>, String> {
        all_of(self)
    }
}

fn all_of<T: IntoListen>(list: impl IntoIterator<Item = T>) -> Result<Vec<SocketAddr>, String> {
    let lists: Vec<Vec<SocketAddr>> = list.into_iter().map(T::into_listen).collect::<Result<_, _>>()?;
    Ok(lists.into_iter().flatten().collect())
}

macro_rules! strings_are_read_by_the_grammar {
    ($($text:ty),*) => {$(
        impl IntoWorkers for $text {
            fn into_workers(self) -> Result<Option<usize>, String> {
                grammar::workers(self.as_ref())
            }
        }
        impl IntoMaxRestarts for $text {
            fn into_max_restarts(self) -> Result<Option<usize>, String> {
                grammar::max_restarts(self.as_ref())
            }
        }
        impl IntoDuration for $text {
            fn into_duration(self) -> Result<Duration, String> {
                grammar::duration(self.as_ref())
            }
        }
        impl IntoBackoff for $text {
            fn into_backoff(self) -> Result<Backoff, String> {
                grammar::backoff(self.as_ref())
            }
        }
        impl IntoListen for $text {
            fn into_listen(self) -> Result<Vec<SocketAddr>, String> {
                grammar::addresses(self.as_ref())
            }
        }
    )*};
}
strings_are_read_by_the_grammar!(&str, &String, String);
