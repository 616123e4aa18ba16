//! What runs in every worker before the body: reseeding, then the user's hooks.

use std::process::{ExitCode, Termination};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Worker;
use crate::zeroed_option::ZeroedOption;

type Hook = Box<dyn Fn(Worker) -> ExitCode + Send>;

static HOOKS: Mutex<ZeroedOption<Vec<Hook>>> = Mutex::new(ZeroedOption::None);

#[inline] // Each page of code that a new worker enters costs it a fault.
fn lock_hooks() -> MutexGuard<'static, ZeroedOption<Vec<Hook>>> {
    HOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers a hook that runs in every worker before the body, replacements included, in the order of registration.
///
/// For what must not be shared by workers, or does not survive a fork: generators to reseed, connections to open,
/// exporter threads to start. Call it from the `preload` function, or before [`Prefork::run`](crate::Prefork::run).
/// A hook that does not succeed (an `Err`, an [`ExitCode`] other than success) ends the worker with its status, as if
/// `main` had returned it; one that panics, with status 101. Signals are as the body has them. Under `PREFORK=off` the
/// hooks run in the one process. A hook registered in a worker never runs. Hooks are `Send` so that any thread can
/// register one; they run on the main thread.
///
/// ```
/// prefork_rt::after_fork(|worker| {
///     println!("worker {} is about to start", worker.task_id());
/// });
/// ```
pub fn after_fork<T: Termination>(hook: impl Fn(Worker) -> T + Send + 'static) {
    register(hook);
}

pub(crate) fn register<T: Termination>(hook: impl Fn(Worker) -> T + Send + 'static) {
    let hook: Hook = Box::new(move |worker| hook(worker).report());
    lock_hooks().get_or_insert_with(Vec::new).push(hook);
}

/// Whether there are hooks, which keep a worker from its body for as long as they take.
pub(crate) fn any() -> bool {
    lock_hooks().as_ref().is_some()
}

/// In the supervisor, before its first fork: has the generators get what they need once, so that no worker has to. These are
/// memory, functions that the dynamic linker looks up, and what the processor can do. A worker's seed is its own anyway.
pub(crate) fn prepare() {
    // If it fails here, it may succeed in a worker, which does it again.
    #[cfg(feature = "rand_0_9")]
    let _ = rand_0_9::rng().reseed();
    #[cfg(feature = "rand_0_10")]
    let _ = rand_0_10::rng().reseed();
    // To make it takes the time and the number of the thread, which takes memory. This leaves it as it is.
    #[cfg(feature = "fastrand_2")]
    let _ = fastrand_2::get_seed();
}

/// Reseeds what the cargo features name, then runs the hooks.
#[inline]
pub(crate) fn run(worker: Worker) {
    reseed();
    let Some(hooks) = lock_hooks().take() else { return };
    for hook in &hooks {
        let code = hook(worker);
        if code != ExitCode::SUCCESS {
            std::process::exit(number(code));
        }
    }
    // The hooks may hold what must live as long as the process.
    std::mem::forget(hooks);
}

/// The number in an exit code, which std only compares.
fn number(code: ExitCode) -> i32 {
    (0..=u8::MAX).find(|&number| ExitCode::from(number) == code).map_or(1, i32::from)
}

#[inline] // Each page of code that a new worker enters costs it a fault.
fn reseed() {
    #[cfg(feature = "rand_0_9")]
    reseeded("rand 0.9", rand_0_9::rng().reseed());
    #[cfg(feature = "rand_0_10")]
    reseeded("rand 0.10", rand_0_10::rng().reseed());
    #[cfg(feature = "fastrand_2")]
    reseeded("fastrand 2", crate::sys::entropy().map(fastrand_2::seed));
}

/// Ends a worker that would produce the random numbers of its siblings.
#[cfg(any(feature = "rand_0_9", feature = "rand_0_10", feature = "fastrand_2"))]
#[inline]
fn reseeded<E: std::fmt::Display>(generator: &str, result: Result<(), E>) {
    if let Err(error) = result {
        crate::logging::error(&format!("cannot reseed {generator} in this worker: {error}"));
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_has_a_number() {
        assert_eq!(number(ExitCode::SUCCESS), 0);
        assert_eq!(number(ExitCode::FAILURE), 1);
        assert_eq!(number(ExitCode::from(255)), 255);
    }
}
