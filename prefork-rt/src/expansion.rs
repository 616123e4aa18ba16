//! What the expansion of `#[prefork]` calls beside the builder, so that types decide what the macro cannot see.
#![allow(missing_docs, missing_debug_implementations)] // Hidden, and not for users.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::process::{ExitCode, Termination};

use crate::error::Error;
use crate::logging;
use crate::options::Prefork;
use crate::worker::argument::FromWorker;
use crate::worker::preload;
use crate::worker::{Worker, worker};

/// What the expansion asks of an argument's type before the first fork. Method lookup takes the first of the two types
/// that fits, so a type that cannot be an argument is reported in one place: where the argument is filled.
pub fn argument_of<T: ?Sized>() -> ArgumentOf<T> {
    ArgumentOf(AnyType(PhantomData))
}

pub struct ArgumentOf<T: ?Sized>(AnyType<T>);
pub struct AnyType<T: ?Sized>(PhantomData<T>);

impl<T: ?Sized> Deref for ArgumentOf<T> {
    type Target = AnyType<T>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T: FromWorker> ArgumentOf<T> {
    /// States what the argument needs.
    pub fn needs(&self, mut prefork: Prefork) -> Prefork {
        prefork.needs.push(T::needs());
        prefork
    }
}

impl<T: ?Sized> AnyType<T> {
    /// States nothing.
    pub fn needs(&self, prefork: Prefork) -> Prefork {
        prefork
    }
}

/// Runs the user's `main` in every worker.
pub fn run<T: Termination>(prefork: Prefork, main: impl FnOnce() -> T) -> ExitCode {
    prefork.run(|_| main())
}

/// Fills an argument in a worker, or ends the worker with a line that says why it cannot.
pub fn argument<T>(from_worker: fn(Worker) -> Result<T, Error>) -> T {
    worker().ok_or(Error::AlreadyStarted).and_then(from_worker).unwrap_or_else(|error| exit_with(&error))
}

fn exit_with(error: &Error) -> ! {
    logging::last_line(error);
    std::process::exit(2)
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

/// What the expansion calls for each argument that takes what `preload = function` returned: a chain of types like that of
/// [`preloaded`], for any type of function. What the function may not be is reported by [`preloaded`] alone, so it lends
/// any type here.
pub fn lent_by<F>(_: F) -> LentBy<F> {
    LentBy(LentByFallible(LentByPlain(LentByAny(PhantomData))))
}

pub struct LentBy<F>(LentByFallible<F>);
pub struct LentByFallible<F>(LentByPlain<F>);
pub struct LentByPlain<F>(LentByAny<F>);
pub struct LentByAny<F>(PhantomData<F>);

impl<F> Deref for LentBy<F> {
    type Target = LentByFallible<F>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<F> Deref for LentByFallible<F> {
    type Target = LentByPlain<F>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<F> Deref for LentByPlain<F> {
    type Target = LentByAny<F>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<F: Fn() -> R, R: Future> LentBy<F> {
    pub fn lend<T: ?Sized>(&self) -> &'static T {
        unreachable!("no future is Synchronous")
    }
}

impl<F: Fn() -> Result<T, E>, T: 'static, E> LentByFallible<F> {
    /// What the function returned.
    pub fn lend(&self) -> &'static T {
        lent_or_exit()
    }
}

impl<F: Fn() -> T, T: 'static> LentByPlain<F> {
    /// What the function returned.
    pub fn lend(&self) -> &'static T {
        lent_or_exit()
    }
}

impl<F> LentByAny<F> {
    pub fn lend<T: ?Sized>(&self) -> &'static T {
        unreachable!("`preloaded` takes no such function")
    }
}

/// Uses an argument that only the options use.
pub fn use_once<T: ?Sized>(_: &T) {}

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

/// What an argument is given, and before the fork an option's expression. `run` stored a value of this very type, so
/// there is no other end.
fn lent_or_exit<T: 'static>() -> &'static T {
    preload::lent().unwrap_or_else(|error| exit_with(&error))
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
