//! What a worker can do with its handle: all methods and their documentation.
//!
//! It must not know the supervisor's table.

pub(crate) mod after_fork;
pub(crate) mod argument;
#[cfg(feature = "hyper_1")]
pub(crate) mod grace;
pub(crate) mod listener;
pub(crate) mod preload;
pub(crate) mod shutdown;
pub(crate) mod tie;

use std::fmt;

use crate::error::Error;
use crate::identity::{Identity, identity};
use crate::scoreboard;
use argument::FromWorker;
use listener::FromListener;
use shutdown::Shutdown;

/// Which worker this is: a handle that is an argument of `main`, of the body of [`Prefork::run`](crate::Prefork::run)
/// and of [`after_fork`](crate::after_fork) hooks.
///
/// ```no_run
/// use prefork_rt::{Worker, prefork};
///
/// #[prefork(workers = 4)]
/// fn main(worker: Worker) {
///     println!("worker {} of {}", worker.task_id(), worker.workers());
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Worker(pub(crate) Identity);

/// The handle of this worker; `None` outside a worker.
///
/// For code that does not get it as an argument, such as a `main` whose runtime attribute stands above `#[prefork]`, or
/// a function deep in the program:
///
/// ```
/// fn finish_batch() {
///     // Outside a pool, in a unit test for example, there is no supervisor to tell.
///     if let Some(worker) = prefork_rt::worker() {
///         worker.heartbeat();
///     }
/// }
/// # finish_batch();
/// ```
pub fn worker() -> Option<Worker> {
    identity().map(Worker)
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { task_id, workers, restarts } = &self.0;
        let mut worker = f.debug_struct("Worker");
        worker.field("task_id", task_id).field("workers", workers).field("restarts", restarts).finish()
    }
}

impl Worker {
    /// Which of the workers this is: `0..workers`. A replacement has the id of the worker it replaces.
    ///
    /// ```no_run
    /// use prefork_rt::{Worker, prefork};
    ///
    /// #[prefork(workers = 4)]
    /// fn main(worker: Worker) -> std::io::Result<()> {
    ///     // Worker 3 and its replacements continue the same file.
    ///     let journal = std::fs::OpenOptions::new().create(true).append(true).open(format!("{}.log", worker.task_id()))?;
    ///     // …
    ///     # drop(journal);
    ///     Ok(())
    /// }
    /// ```
    pub fn task_id(self) -> usize {
        self.0.task_id
    }

    /// How many workers there were when this one started. SIGTTIN and SIGTTOU change their number later.
    ///
    /// ```no_run
    /// use prefork_rt::{Worker, prefork};
    ///
    /// #[prefork(workers = 4)]
    /// fn main(worker: Worker) {
    ///     // Each worker does its part of the customers.
    ///     for customer in (0..1_000).filter(|customer| customer % worker.workers() == worker.task_id()) {
    ///         println!("invoice of customer {customer}");
    ///     }
    /// }
    /// ```
    pub fn workers(self) -> usize {
        self.0.workers
    }

    /// How many times this task id was started before: 0 in the first worker that has it.
    ///
    /// ```no_run
    /// use prefork_rt::{Worker, prefork};
    ///
    /// #[prefork(workers = 4)]
    /// fn main(worker: Worker) {
    ///     if worker.restarts() > 0 {
    ///         println!("worker {} continues where another ended", worker.task_id());
    ///     }
    /// }
    /// ```
    pub fn restarts(self) -> usize {
        self.0.restarts
    }

    /// Says that this worker is ready to do its work: bound, connected, warmed up.
    ///
    /// With the option [`ready_timeout`](crate::Prefork::ready_timeout) a worker counts as ready when it has called this,
    /// and is killed and replaced when it has not done so in time. Without that option a worker counts as ready when
    /// its body starts, and this is a no-op, as it is under `PREFORK=off`, when it is called again, and in a process that
    /// the worker forked. It cannot fail, may be called from any thread, and costs a few system calls.
    ///
    /// ```no_run
    /// use prefork_rt::{Worker, prefork};
    /// use std::net::TcpListener;
    ///
    /// #[prefork(listen = "127.0.0.1:8080")]
    /// fn main(worker: Worker, listener: TcpListener) -> std::io::Result<()> {
    ///     let words = std::fs::read_to_string("/usr/share/dict/words")?;
    ///     worker.ready(); // from here on it can answer
    ///     for connection in listener.incoming() {
    ///         println!("{:?} may look up {} words", connection?, words.lines().count());
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn ready(self) {
        scoreboard::ready();
    }

    /// Says that this worker is alive. Call it from the work loop itself, so that it stops when the work is stuck. A
    /// dedicated heartbeat thread would only prove that the thread is alive.
    ///
    /// With the option [`heartbeat_timeout`](crate::Prefork::heartbeat_timeout) a worker that has sent a heartbeat,
    /// and then none for that long, hangs: it gets SIGABRT, SIGKILL 5 s later, and is replaced. Before its first heartbeat
    /// it may take as long as it likes, unless `ready_timeout` says otherwise. The supervisor looks only when a worker
    /// could really be late, and once more after a tenth of the timeout: a worker that hangs is found 1.1 × the timeout
    /// after its last heartbeat, to about 10 ms. Call it several times within the timeout. A worker that was told to stop
    /// need not call it any more. [`status`](crate::status) shows heartbeats with or without the option.
    ///
    /// It is one store to shared memory: a few nanoseconds and no system call, but for the first, which wakes the
    /// supervisor. It cannot fail, and may be called from any thread; in a process that the worker forked it does nothing.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    /// use std::sync::mpsc;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Prefork::new().run(|worker| {
    ///         let (sender, jobs) = mpsc::channel::<String>();
    ///         // … threads that get jobs have the sender
    ///         # drop(sender);
    ///         for job in jobs {
    ///             worker.heartbeat();
    ///             println!("worker {} does {job}", worker.task_id());
    ///         }
    ///     })
    /// }
    /// ```
    ///
    /// A worker that may wait for long calls it while it waits: with
    /// [`recv_timeout`](std::sync::mpsc::Receiver::recv_timeout), say, or a timer of its async runtime.
    #[inline]
    pub fn heartbeat(self) {
        scoreboard::heartbeat();
    }

    /// Asks for this worker to be replaced, for example after 10 000 requests, because memory is fragmented or leaks.
    ///
    /// The worker goes on working. When it is its turn (see [`reload_width`](crate::Prefork::reload_width)) it gets SIGTERM;
    /// the option [`reload`](crate::Prefork::reload) decides whether its replacement is started before. One that has
    /// asked and then returns with status 0 by itself is replaced too. Neither counts as a restart of `max_restarts`. In a
    /// process that the worker forked, this does nothing.
    ///
    /// A no-op under `PREFORK=off` and when it is called again. It cannot fail, and costs a few system calls.
    ///
    /// ```no_run
    /// use prefork_rt::{Worker, prefork};
    /// use std::net::TcpListener;
    ///
    /// #[prefork(listen = "127.0.0.1:8080")]
    /// fn main(worker: Worker, listener: TcpListener) -> std::io::Result<()> {
    ///     for (served, connection) in listener.incoming().enumerate() {
    ///         println!("serving {:?}", connection?.peer_addr());
    ///         if served == 10_000 {
    ///             worker.recycle();
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn recycle(self) {
        scoreboard::recycle();
    }

    /// Ties this worker to its supervisor again, after the body itself has changed its user or group: no worker outlives
    /// its supervisor, and the kernel forgets that at such a change (Linux).
    ///
    /// Not needed for the options `user` and `group`. Call it right after the change, on the main thread or one that
    /// lives as long as the worker. When the supervisor has ended in between, it does not return: the process ends. A
    /// no-op under `PREFORK=off`. A worker that gains rights, by setuid(2) or by running a set-user-ID program, is
    /// beyond a supervisor that has fewer. The supervisor's session, terminal and session keyring stay with
    /// a worker that changes its user by itself: the options [`user`](crate::Prefork::user) and `group` take them away.
    ///
    /// ```no_run
    /// use nix::unistd::{Uid, setuid};
    /// use prefork_rt::{Worker, prefork};
    ///
    /// #[prefork(workers = 2)]
    /// fn main(worker: Worker) -> Result<(), Box<dyn std::error::Error>> {
    ///     // what takes root
    ///     setuid(Uid::from_raw(65534))?;
    ///     worker.rearm()?;
    ///     // what does not
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the system refuses (a seccomp filter without prctl(2)), and in a process that the worker
    /// forked.
    pub fn rearm(self) -> Result<(), Error> {
        tie::rearm()
    }

    /// What an argument of type `T` would be given: the injection of `#[prefork]`, by hand.
    ///
    /// A listener is given to the caller, so it can be asked for once; use
    /// [`try_clone`](std::net::TcpListener::try_clone) for a second handle.
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    /// use prefork_rt::Prefork;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Prefork::new().listen("127.0.0.1:8080").run(|worker| -> Result<(), prefork_rt::Error> {
    ///         let listener: TcpListener = worker.get()?;
    ///         // …
    ///         Ok(())
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when there is no such thing: a listener of a kind that `listen` has none or several of, or
    /// that was taken before; a reference to what `preload` did not return; a task id that does not fit a `u32`.
    ///
    /// # Panics
    ///
    /// For a [`Shutdown`], as [`shutdown`](Self::shutdown) does.
    pub fn get<T: FromWorker>(self) -> Result<T, Error> {
        T::from_worker(self)
    }

    /// The listener that has this name in `listen`: as a [`TcpListener`](std::net::TcpListener), a
    /// [`UnixListener`](std::os::unix::net::UnixListener) or a [`UdpSocket`](std::net::UdpSocket), or a `Vec` of these
    /// where the name's host may have several addresses; see [`FromListener`].
    ///
    /// It is given to the caller, so it can be asked for once.
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    /// use prefork_rt::{Error, Worker, prefork};
    ///
    /// #[prefork(listen = ["public=0.0.0.0:80", "admin=127.0.0.1:9000"])]
    /// fn main(worker: Worker) -> Result<(), Error> {
    ///     let public: TcpListener = worker.listener("public")?;
    ///     let admin: TcpListener = worker.listener("admin")?;
    ///     // …
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when there is no listener of this name, when it is of another kind, has several addresses, or
    /// was taken before.
    pub fn listener<T: FromListener>(self, name: &str) -> Result<T, Error> {
        listener::take(Some(name))
    }

    /// Takes SIGTERM, with which the supervisor tells a worker to stop, and returns the handle that says whether it
    /// came: for every runtime, and for none.
    ///
    /// From the first call on SIGTERM does not end this worker any more: it has `graceful_timeout` to accept no more,
    /// finish what was begun, and return. Before that call, and in a worker that makes none, SIGTERM ends it at once.
    /// So ask first thing in `main`, or take [`Shutdown`] as an argument of `main`, which is the call before the body
    /// runs. Later calls return another handle of the same stop.
    ///
    /// Handlers of other libraries run too, whichever was first, as long as they chain as tokio and signal-hook do. A
    /// SIGTERM that was ignored or blocked when the program was started reaches this worker nevertheless (it is
    /// unblocked in the calling thread), because the supervisor has no other word for it. A command that the worker
    /// runs has SIGTERM at its default action and does not see the descriptors; a process that it forks without exec(3)
    /// keeps the handler, and there only [`is_requested`](Shutdown::is_requested) tells of its own SIGTERM. Under
    /// `PREFORK=off` it is the SIGTERM to the one process.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Prefork::new().run(|worker| {
    ///         let shutdown = worker.shutdown();
    ///         while !shutdown.is_requested() {
    ///             // one piece of work
    ///         }
    ///     })
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// In the first call, when this process may not open two more descriptors.
    pub fn shutdown(self) -> Shutdown {
        shutdown::shutdown()
    }
}
