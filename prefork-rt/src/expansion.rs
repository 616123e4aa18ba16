//! What the expansion of `#[prefork]` calls beside the builder, so that types decide what the macro cannot see.
#![allow(missing_docs, missing_debug_implementations)] // Hidden, and not for users.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::Display;
use std::future::Future;
use std::ops::Deref;
use std::process::{ExitCode, Termination};

use crate::error::Error;
use crate::logging;
use crate::options::Prefork;
use crate::worker::argument::Needs;
use crate::worker::preload;
use crate::worker::{Worker, worker};

/// States what an argument needs before the first fork.
pub fn needs(mut prefork: Prefork, needs: Needs) -> Prefork {
    prefork.needs.push(needs);
    prefork
}

/// Runs the user's `main` in every worker.
pub fn run<T: Termination>(prefork: Prefork, main: impl FnOnce() -> T) -> ExitCode {
    prefork.run(|_| main())
}

/// Fills an argument in a worker, or ends the worker with a line that says why it cannot.
pub fn argument<T>(from_worker: fn(Worker) -> Result<T, Error>) -> T {
    let filled = worker().ok_or(Error::AlreadyStarted).and_then(from_worker);
    filled.unwrap_or_else(|error| {
        logging::last_line(&error);
        std::process::exit(2)
    })
}

/// What the expansion calls for `preload = function`: a chain of types, of which method lookup takes the first that fits
/// what the function returns: a future (refused), a `Result` whose error has causes, one whose error is a pointer to such
/// an error, any other `Result`, anything else. Nothing has to be named that the macro cannot see. A function pointer, so
/// that what cannot be called is one mismatch of types and no more.
pub fn preloaded<R>(function: fn() -> R) -> Preload<R> {
    Preload(Caused(Pointed(Fallible(Plain(function)))))
}

pub struct Preload<R>(Caused<R>);
pub struct Caused<R>(Pointed<R>);
pub struct Pointed<R>(Fallible<R>);
pub struct Fallible<R>(Plain<R>);
pub struct Plain<R>(fn() -> R);

impl<R> Deref for Preload<R> {
    type Target = Caused<R>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<R> Deref for Caused<R> {
    type Target = Pointed<R>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<R> Deref for Pointed<R> {
    type Target = Fallible<R>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<R> Deref for Fallible<R> {
    type Target = Plain<R>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<R: Future> Preload<R> {
    /// Refuses an `async fn`.
    pub fn run(&self, _: Prefork) -> Result<Prefork, ExitCode>
    where
        R: Synchronous,
    {
        unreachable!("no future is Synchronous")
    }

    /// See [`run`](Self::run).
    pub fn run_unit(&self, _: Prefork) -> Result<Prefork, ExitCode>
    where
        R: Synchronous,
    {
        unreachable!("no future is Synchronous")
    }

    /// Any type, so that [`run`](Self::run) reports the one error there is.
    pub fn lend<T>(&self) -> &'static T {
        unreachable!("no future is Synchronous")
    }
}

impl<T, E: StdError> Caused<Result<T, E>> {
    /// Runs the function, for a value that arguments take.
    pub fn run(&self, prefork: Prefork) -> Result<Prefork, ExitCode>
    where
        T: Any + Sync,
    {
        self.run_with(prefork, |value| value.map_err(|error| with_causes(&error)))
    }

    /// Runs the function, for no value.
    pub fn run_unit(&self, prefork: Prefork) -> Result<Prefork, ExitCode>
    where
        T: Taken,
    {
        self.run_with(prefork, |value| value.map(|_| ()).map_err(|error| with_causes(&error)))
    }
}

/// `Box<dyn Error>`, and the errors of the crates anyhow and eyre.
impl<T, E: Deref<Target: StdError>> Pointed<Result<T, E>> {
    /// Runs the function, for a value that arguments take.
    pub fn run(&self, prefork: Prefork) -> Result<Prefork, ExitCode>
    where
        T: Any + Sync,
    {
        self.run_with(prefork, |value| value.map_err(|error| with_causes(&*error)))
    }

    /// Runs the function, for no value.
    pub fn run_unit(&self, prefork: Prefork) -> Result<Prefork, ExitCode>
    where
        T: Taken,
    {
        self.run_with(prefork, |value| value.map(|_| ()).map_err(|error| with_causes(&*error)))
    }
}

impl<T, E> Fallible<Result<T, E>> {
    /// Runs the function, for a value that arguments take.
    pub fn run(&self, prefork: Prefork) -> Result<Prefork, ExitCode>
    where
        T: Any + Sync,
        E: Display,
    {
        self.0.run_with(prefork, |value| value.map_err(|error| error.to_string()))
    }

    /// Runs the function, for no value.
    pub fn run_unit(&self, prefork: Prefork) -> Result<Prefork, ExitCode>
    where
        T: Taken,
        E: Display,
    {
        self.0.run_with(prefork, |value| value.map(|_| ()).map_err(|error| error.to_string()))
    }

    /// What the function returned, for an argument.
    pub fn lend(&self) -> &'static T
    where
        T: 'static,
    {
        lent_or_exit()
    }
}

impl<T> Plain<T> {
    /// Runs the function, for a value that arguments take.
    pub fn run(&self, prefork: Prefork) -> Result<Prefork, ExitCode>
    where
        T: Any + Sync,
    {
        self.run_with(prefork, Ok)
    }

    /// Runs the function, for no value.
    pub fn run_unit(&self, prefork: Prefork) -> Result<Prefork, ExitCode>
    where
        T: Taken,
    {
        self.run_with(prefork, |_| Ok(()))
    }

    /// What the function returned, for an argument.
    pub fn lend(&self) -> &'static T
    where
        T: 'static,
    {
        lent_or_exit()
    }
}

impl<R> Plain<R> {
    fn run_with<V: Any + Sync>(
        &self,
        mut prefork: Prefork,
        outcome: impl FnOnce(R) -> Result<V, String>,
    ) -> Result<Prefork, ExitCode> {
        let value = match prefork.error.take() {
            Some(error) => Err(error),
            None => outcome(prefork.inheritance.handoff.or_back(self.0)).map_err(|reason| Error::Preload { reason }),
        };
        match value.and_then(preload::store) {
            Ok(()) => Ok(prefork),
            Err(error) => {
                let error = prefork.inheritance.handoff.go_back_or(error);
                logging::last_line(&error);
                Err(error.exit_code())
            }
        }
    }
}

/// The error's text and those of its causes, each once: some errors say themselves what their source says.
fn with_causes<E: StdError + ?Sized>(error: &E) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// What an argument is given; `run` stored a value of this very type, so there is no other end in a worker.
fn lent_or_exit<T: 'static>() -> &'static T {
    argument(|_| preload::lent())
}

/// What a preload function returns when no argument takes its value.
#[diagnostic::on_unimplemented(
    message = "`preload` returns a value that no argument of this function takes",
    label = "this function returns `{Self}`",
    note = "add an argument of type `&{Self}` to receive it, or return `()` or `Result<(), E>` where `E: Display`"
)]
pub trait Taken {}
#[diagnostic::do_not_recommend]
impl Taken for () {}

/// What no future is.
#[diagnostic::on_unimplemented(
    message = "`preload` cannot name an `async fn`",
    label = "this function is async",
    note = "it is called once before the workers are forked, and no async runtime may exist before a fork: make it a plain `fn`, and do the async work in the body of `main`"
)]
pub trait Synchronous {}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// A text, and a cause.
    #[derive(Debug)]
    struct Failure(&'static str, Option<Box<Failure>>);

    impl Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Failure {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.1.as_deref().map(|cause| cause as &dyn StdError)
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_no_text_twice() {
        let chain = |texts: &[&'static str]| {
            let fold = |cause: Option<Box<Failure>>, text: &&'static str| Some(Box::new(Failure(text, cause)));
            with_causes(&*texts.iter().rev().fold(None, fold).expect("a text"))
        };
        assert_eq!(chain(&["cannot load app.toml"]), "cannot load app.toml");
        assert_eq!(chain(&["cannot load", "line 3", "no such colour"]), "cannot load: line 3: no such colour");
        assert_eq!(chain(&["cannot load: line 3", "line 3", "no such colour"]), "cannot load: line 3: no such colour");
        assert_eq!(chain(&["cannot load: line 3: blue", "line 3: blue", "blue"]), "cannot load: line 3: blue");
    }
}
