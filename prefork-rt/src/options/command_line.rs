//! The mark of a value that wins over the environment.
//!
//! It must not know how the value is read.

#[cfg(doc)]
use super::Prefork;

/// A value from the command line, which wins over the option's environment variable.
///
/// Every option takes it, in the attribute and in the builder, around whatever the option takes itself. Without it the
/// environment wins, which suits what a developer writes into the code. A value that a person gives at the start should
/// win. `None` in it, or an empty list, leaves the option to the environment, then to what [`or`](Self::or) names, then to
/// its default. A line names a variable that is overruled. A variable that cannot be read still ends the start, with exit status 2.
///
/// ```no_run
/// use prefork_rt::{CommandLine, prefork};
///
/// /// What a parser of arguments such as clap fills.
/// struct Cli {
///     workers: Option<usize>,
///     user: Option<String>,
/// }
///
/// fn parse() -> Cli {
///     let workers = std::env::args().nth(1).and_then(|text| text.parse().ok());
///     Cli { workers, user: std::env::args().nth(2) }
/// }
///
/// // The command line, else PREFORK_WORKERS and PREFORK_USER, else two workers and no other user.
/// #[prefork(preload = parse, workers = CommandLine(cli.workers).or(2), user = CommandLine(&cli.user))]
/// fn main(task_id: usize, cli: &Cli) {
///     println!("worker {task_id} of {:?}", cli.workers);
/// }
/// ```
///
/// A `bool` is always a value. So wrap a flag that may be absent as an `Option<bool>`, for example
/// `reuse_port = CommandLine(cli.reuse_port.then_some(true))`.
///
/// See [`Prefork`] for the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandLine<T>(pub T);

/// A [`CommandLine`], and the code's value where it has none: what [`CommandLine::or`] returns.
///
/// ```
/// use prefork_rt::{CommandLine, CommandLineOr};
///
/// let workers: CommandLineOr<Option<usize>, usize> = CommandLine(None).or(2);
/// # let _ = workers;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandLineOr<T, D>(pub(super) CommandLine<T>, pub(super) D);

impl<T> CommandLine<T> {
    /// The value that the option has where neither the command line nor the environment gives one: whatever the option
    /// takes.
    ///
    /// ```no_run
    /// use prefork_rt::{CommandLine, Prefork};
    ///
    /// fn main() -> std::process::ExitCode {
    ///     let addresses: Vec<String> = std::env::args().skip(1).collect();
    ///     Prefork::new().listen(CommandLine(addresses).or("127.0.0.1:8080")).run(|_| {})
    /// }
    /// ```
    pub fn or<D>(self, default: D) -> CommandLineOr<T, D> {
        CommandLineOr(self, default)
    }
}
