#![doc = include_str!("../README.md")]
#![deny(unsafe_code, missing_docs)]

#[cfg(not(unix))]
compile_error!("prefork needs fork(2), so it runs on Unix only: Linux is tested, Windows cannot be supported");

#[cfg(unix)]
mod expansion; // Here, because compile errors in a user's crate name it.
#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(unix)]
#[path = "unix.rs"] // Its modules are files beside this one.
mod unix;

#[cfg(unix)]
pub use unix::*;

/// Runs `main` in supervised worker processes.
///
/// ```no_run
/// use prefork_rt::prefork;
///
/// #[prefork(workers = 4, max_restarts = 100)]
/// fn main(task_id: usize) {
///     println!("worker {task_id}");
/// }
/// ```
///
/// It expands to a call of the builder [`Prefork`], with one method per argument, and to nothing else: there is no
/// `unsafe` in the expansion. It is written above a runtime's attribute, which then applies to the body in the worker:
///
/// ```no_run
/// # use prefork_rt::prefork;
/// use prefork_rt::Worker;
///
/// #[prefork(workers = 2)]
/// #[tokio::main]
/// async fn main(worker: Worker) -> Result<(), std::io::Error> {
///     tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///     println!("worker {} slept", worker.task_id());
///     Ok(())
/// }
/// ```
///
/// # Options
///
/// `workers`, `max_restarts`, `restart_window`, `restart`, `backoff`, `graceful_timeout`, `listen`, `reuse_port`,
/// `ready_timeout`, `heartbeat_timeout`, `max_lifetime`, `max_memory`, `reload`, `user`, `group` and `no_new_privs` are
/// the builder's methods of these names: see [there](Prefork) for types, units and defaults. A literal is checked when the program is
/// compiled; any other expression is evaluated at the start, in written order, and checked then (exit status 2). Two are
/// the attribute's alone:
///
/// * `preload = path::to::function`: called once in the first process, after the environment was read and before the
///   other options are evaluated, so that these may use what it stored. It is the only code of yours that runs before
///   the fork: the place for configuration, a logger, and data that all workers share; threads, event loops and
///   connections ([`share_connection`] has the exceptions) belong in the body. It returns `T` or `Result<T, E>`
///   with `E: Display`; `main` receives the value as `&T`. Without such an argument it returns `()` or `Result<(), E>`.
///   An `Err` ends the program with exit status 1, its text, and its causes where it is an [`Error`](std::error::Error)
///   or a pointer to one (`Box<dyn Error>`, the errors of anyhow). The value is never dropped, in any process. `T` is
///   `Sync`, because a worker may share it with its threads. A reload does not call it again; an
///   [upgrade](crate::guide::upgrade) does, in its rehearsal and in the new binary.
/// * `crate = path`: where this crate is found when it is renamed or re-exported.
///
/// # Arguments
///
/// Whatever implements [`FromWorker`], in any order, and `&T` for what `preload` returned. What an argument needs is
/// checked before anything is forked, where literals show it at compile time. What `listen` has several of is asked for by
/// name, with [`Worker::listener`].
///
/// ```no_run
/// use prefork_rt::prefork;
/// use std::net::TcpListener;
///
/// struct Configuration {
///     workers: usize,
/// }
///
/// fn load() -> Result<Configuration, std::io::Error> {
///     Ok(Configuration { workers: 4 })
/// }
///
/// #[prefork(preload = load, listen = "127.0.0.1:8080")]
/// fn main(task_id: usize, listener: TcpListener, configuration: &Configuration) -> std::io::Result<()> {
///     println!("worker {task_id} of {} listens on {}", configuration.workers, listener.local_addr()?);
///     Ok(())
/// }
/// ```
///
/// # Errors and panics
///
/// A mistake in the attribute or the signature is a compile error at its place; all of them are reported at once. At
/// run time the program ends with one line that says why, and exit status 1 or 2 (see the
/// [guide](crate::guide::signals_and_exit_status)). A panic in the body ends that worker with status 101,
/// and it is replaced.
///
/// For a function that is not `main`, a test, or more control, use [`Prefork::run`] or [`Prefork::start`].
pub use prefork_macros::prefork;
