//! Why prefork could not start or gave up: the text for the log, and the exit status.

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use crate::amounts;
use crate::exit_status::EXIT_GIVE_UP;
use crate::sys::{self, CallError};

/// Why prefork could not start, gave up, or could not fill an argument.
///
/// Every message says what happened and what to do. `Debug` prints the same text as `Display`, so that a `main`
/// that returns `Result<(), Error>` shows it too.
///
/// Later versions may add kinds of error and fields, so a `match` has an arm for other kinds, and `..` in each pattern:
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use prefork_rt::{Error, Prefork, Role};
///
/// fn main() -> ExitCode {
///     match Prefork::new().workers(2).listen("127.0.0.1:8080").start() {
///         Ok(Role::Worker(worker)) => println!("worker {}", worker.task_id()),
///         Ok(Role::Supervisor(code)) => return code,
///         Err(Error::Listen { address, source, .. }) => {
///             eprintln!("another service has {address}? {source}");
///             return ExitCode::from(75);
///         }
///         Err(error) => {
///             eprintln!("{error}");
///             return error.exit_code();
///         }
///     }
///     ExitCode::SUCCESS
/// }
/// ```
#[non_exhaustive]
pub enum Error {
    /// The value given for an option in the code cannot be used. Exit status 2.
    #[non_exhaustive]
    Option {
        /// The option, as the builder's method and the attribute's argument are called.
        name: &'static str,
        /// What is wrong with the value and what is accepted.
        reason: String,
    },
    /// A `PREFORK_…` environment variable has a value that cannot be used. Exit status 2.
    #[non_exhaustive]
    Environment {
        /// The variable.
        variable: String,
        /// What is wrong with its value and what is accepted.
        reason: String,
    },
    /// An argument of `main`, a [`Worker::get`](crate::Worker::get) or a [`Worker::listener`](crate::Worker::listener)
    /// asks for what is not there. Exit status 2.
    #[non_exhaustive]
    Argument {
        /// What was asked for, why it is not there, and what to do.
        reason: String,
    },
    /// The function named by `preload` returned an error. Exit status 1.
    #[non_exhaustive]
    Preload {
        /// The error's text, and those of its causes.
        reason: String,
    },
    /// An address of `listen` could not be resolved or bound. Exit status 1.
    #[non_exhaustive]
    Listen {
        /// The address, as it is written.
        address: String,
        /// The system's reason.
        source: io::Error,
        /// What to do, and, where the address is in use, which process holds it.
        advice: String,
    },
    /// Before the first fork, other threads were alive, or an event loop or a connection that workers would share was
    /// open. Exit status 2.
    #[non_exhaustive]
    UnsafeToFork {
        /// What was found, by name, and what to do.
        reason: String,
    },
    /// Other threads, an event loop or a connection appeared in the supervisor while workers ran; they were stopped.
    /// Exit status 1.
    #[non_exhaustive]
    BecameUnsafeToFork {
        /// What was found, by name, and what to do.
        reason: String,
    },
    /// prefork was started before in this process, or this process is a worker. Exit status 2.
    #[non_exhaustive]
    AlreadyStarted,
    /// The first start of a worker failed because the system refused to fork. Exit status 1.
    #[non_exhaustive]
    Fork {
        /// The system's reason.
        source: io::Error,
    },
    /// More workers ended abnormally than `max_restarts` allows, within `restart_window` if there is one; the others
    /// were stopped. Exit status 1.
    #[non_exhaustive]
    GaveUp {
        /// How many restarts were allowed.
        max_restarts: usize,
        /// Within which time, if not ever.
        restart_window: Option<Duration>,
        /// The task id of the worker whose end exceeded the limit.
        task_id: usize,
    },
    /// With `ready_timeout`: a worker ended twice in a row before it was ready, and the pool has never been ready; the
    /// others were stopped. Exit status 1.
    #[non_exhaustive]
    CannotBoot {
        /// Its task id.
        task_id: usize,
    },
    /// A worker exited with [`EXIT_GIVE_UP`](crate::EXIT_GIVE_UP), which says that trying again will not help; the
    /// others were stopped. Exit status 1.
    #[non_exhaustive]
    PermanentFailure {
        /// Its task id.
        task_id: usize,
    },
    /// Processes that did not die of SIGKILL within 5 seconds. Exit status 1.
    #[non_exhaustive]
    Unkillable {
        /// Their process ids.
        pids: Vec<u32>,
    },
    /// A system call failed that supervision needs. Exit status 1.
    #[non_exhaustive]
    System {
        /// The call.
        call: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// The exit status for this error: 2 where trying again will not help (bad configuration, forking unsafe), else 1.
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    ///
    /// fn main() -> ExitCode {
    ///     let task_id = match prefork_rt::fork_processes(4, 100) {
    ///         Ok(task_id) => task_id,
    ///         Err(error) => return error.exit_code(),
    ///     };
    ///     println!("worker {task_id}");
    ///     ExitCode::SUCCESS
    /// }
    /// ```
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Option { .. }
            | Error::Environment { .. }
            | Error::Argument { .. }
            | Error::UnsafeToFork { .. }
            | Error::AlreadyStarted => ExitCode::from(2),
            Error::Preload { .. }
            | Error::Listen { .. }
            | Error::BecameUnsafeToFork { .. }
            | Error::Fork { .. }
            | Error::GaveUp { .. }
            | Error::CannotBoot { .. }
            | Error::PermanentFailure { .. }
            | Error::Unkillable { .. }
            | Error::System { .. } => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Option { name, reason } => write!(f, "{name}: {reason}"),
            Error::Environment { variable, reason } => write!(f, "environment variable {variable}: {reason}"),
            Error::Argument { reason } => f.write_str(reason),
            Error::Preload { reason } => write!(f, "preload failed: {reason}; no worker was started"),
            Error::Listen { address, source, advice } => {
                write!(f, "cannot listen on {address}: {source}; {advice}; no worker was started")
            }
            Error::UnsafeToFork { reason } => write!(f, "forking is unsafe: {reason}; no worker was started"),
            Error::BecameUnsafeToFork { reason } => {
                write!(f, "forking became unsafe: {reason}; the workers were stopped")
            }
            Error::AlreadyStarted => f.write_str(
                "prefork was already started in this process, or this process is a worker: start it once, in main",
            ),
            Error::Fork { source } => write!(
                f,
                "cannot fork: {source}; the workers already started were stopped; check the limits on processes \
                 (ulimit -u, the cgroup's pids.max) and free memory, or ask for fewer workers"
            ),
            Error::GaveUp { max_restarts: 0, task_id, .. } => write!(
                f,
                "gave up: worker {task_id} ended abnormally, and max_restarts = 0 replaces none; the other workers were \
                 stopped; the lines above say how each worker ended"
            ),
            Error::GaveUp { max_restarts, restart_window, task_id } => write!(
                f,
                "gave up: worker {task_id} ended abnormally and all {max_restarts} restarts (max_restarts) are used{}; \
                 the other workers were stopped; the lines above say how each worker ended",
                amounts::within(*restart_window)
            ),
            Error::CannotBoot { task_id } => write!(
                f,
                "gave up: worker {task_id} ended twice in a row before it was ready, and the pool has never been ready: the \
                 service cannot boot; the other workers were stopped; check that it calls Worker::ready(), what it printed, \
                 its configuration, what it connects to, and whether ready_timeout is long enough"
            ),
            Error::PermanentFailure { task_id } => write!(
                f,
                "gave up: worker {task_id} exited with status {}, which says that trying again will not help; the other \
                 workers were stopped; what it printed should say why",
                EXIT_GIVE_UP
            ),
            Error::Unkillable { pids } => write!(
                f,
                "these processes did not die of SIGKILL within 5 s and are left behind: {}; they are probably blocked \
                 in the kernel (state D in ps), on a disk or a network file system",
                pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
            ),
            Error::System { call, source } => write!(f, "{call} failed: {source}{}", advice(call, source)),
        }
    }
}

impl Error {
    /// A descriptor could not be copied, or its mode changed.
    pub(crate) fn fcntl(source: io::Error) -> Error {
        Error::of_call("fcntl(2)")(source)
    }

    /// The call that the error names has failed, or else this one.
    pub(crate) fn of_call(call: &'static str) -> impl Fn(io::Error) -> Error {
        move |error| {
            let CallError { call, source } = CallError::of(error, call);
            Error::System { call, source }
        }
    }
}

/// What to do where the system refuses a call.
fn advice(call: &str, error: &io::Error) -> &'static str {
    /// These calls need no right, so only a filter refuses them.
    const TAKE_NO_RIGHT: [&str; 10] = [
        "fcntl(2)",
        "fstat(2)",
        "mmap(2)",
        "mprotect(2)",
        "munmap(2)",
        "pipe(2)",
        "prctl(2)",
        "sigaction(2)",
        "signalfd(2)",
        "sigprocmask(2)",
    ];
    match sys::errno(error) {
        Some(libc::EMFILE | libc::ENFILE) => "; raise the limit of descriptors (`ulimit -n`, LimitNOFILE=)",
        Some(libc::ENOMEM) => {
            "; free memory, raise the limit on it (`ulimit -v`, the cgroup's memory.max), or ask for fewer workers"
        }
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) if TAKE_NO_RIGHT.contains(&call) => {
            "; a seccomp filter may refuse the call (of a container, or SystemCallFilter= of a unit): let it allow the call"
        }
        _ => "",
    }
}

/// What to do where there are too few descriptors for an upgrade; nothing for other errors.
pub(crate) fn advice_on_descriptors(error: &io::Error) -> &'static str {
    match sys::errno(error) {
        Some(libc::EMFILE | libc::ENFILE) => {
            "; raise the limit of descriptors (`ulimit -n`, LimitNOFILE=): an upgrade takes twice as many as there are \
             sockets, and some more"
        }
        _ => "",
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } | Error::Fork { source } | Error::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What [`FromStr`](std::str::FromStr) of [`Restart`](crate::Restart), [`Reload`](crate::Reload) and
/// [`State`](crate::State) returns for a text that is none of their words. It names the words.
///
/// ```
/// use prefork_rt::Restart;
///
/// let error = "never".parse::<Restart>().unwrap_err();
/// assert!(error.to_string().contains("\"on-failure\""));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownWord(pub(crate) String);

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownWord {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_error_names_the_call_and_advice_fits_the_error() {
        let said = |call, errno| Error::of_call(call)(io::Error::from_raw_os_error(errno)).to_string();
        for (call, errno, advice) in [
            ("pipe(2)", libc::EMFILE, "; raise the limit of descriptors (`ulimit -n`, LimitNOFILE=)"),
            ("mmap(2)", libc::ENOMEM, "; free memory, "),
            ("signalfd(2)", libc::ENOSYS, "; a seccomp filter may refuse the call"),
            ("prctl(2)", libc::EPERM, "; a seccomp filter may refuse the call"),
            ("setuid(2)", libc::EPERM, ""),
            ("write(2)", libc::EIO, ""),
        ] {
            let reason = io::Error::from_raw_os_error(errno);
            let line = said(call, errno);
            assert!(line.starts_with(&format!("{call} failed: {reason}{advice}")), "{line}");
            assert_eq!(line.ends_with(&reason.to_string()), advice.is_empty(), "{line}");
        }
    }
}
