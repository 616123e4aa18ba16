//! Exit statuses with a meaning of their own. It must not know what is done when a worker ends with one.

/// The exit status by which a worker says that trying again will not help: the supervisor gives up at once, whatever is
/// left of `max_restarts`, stops the other workers and exits with status 1.
///
/// For what a restart cannot mend, such as a mistake in a configuration file:
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     prefork_rt::Prefork::new().workers(2).run(|_| match std::fs::read_to_string("app.toml") {
///         Ok(_configuration) => ExitCode::SUCCESS,
///         Err(_) => ExitCode::from(prefork_rt::EXIT_GIVE_UP),
///     })
/// }
/// ```
///
/// The number is that of s6, where 125 means a permanent failure.
pub const EXIT_GIVE_UP: u8 = 125;
