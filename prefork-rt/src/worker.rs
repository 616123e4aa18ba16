//! What a worker knows of itself, and how an argument of `main` is filled from it.
//!
//! It must not know the supervisor's table.

use std::any::{Any, TypeId, type_name};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::Error;
use crate::grammar::Kind;
use crate::listen::{self, Label, Listeners, Wanted};
use crate::listener::{self, FromListener};
use crate::preload;
use crate::scoreboard;
use crate::shutdown::{self, Shutdown};
use crate::sys::{self, Alone};
use crate::tie;

/// Which worker this is: a handle that is an argument of `main`, of the body of [`Prefork::run`](crate::Prefork::run)
/// and of [`after_fork`](crate::after_fork) hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    pub(crate) task_id: usize,
    pub(crate) workers: usize,
    pub(crate) restarts: usize,
}

impl Worker {
    /// Which of the workers this is: `0..workers`. A replacement has the id of the worker it replaces.
    pub fn task_id(self) -> usize {
        self.task_id
    }

    /// How many workers there were when this one started.
    pub fn workers(self) -> usize {
        self.workers
    }

    /// How many times this task id was started before: 0 in the first worker that has it.
    pub fn restarts(self) -> usize {
        self.restarts
    }

    /// Says that this worker is ready to do its work: bound, connected, warmed up.
    ///
    /// With the option [`ready_timeout`](crate::Prefork::ready_timeout) a worker counts as ready when it has said so,
    /// and is killed and replaced when it has not said so in time. Without that option a worker counts as ready when
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

    /// Says that this worker is alive: to be called again and again from where it does its work, so that it stays away
    /// when that is stuck. A thread of its own would prove nothing but itself.
    ///
    /// With the option [`heartbeat_timeout`](crate::Prefork::heartbeat_timeout) a worker that has said so once, and
    /// then not for that long, hangs: it gets SIGABRT, SIGKILL 5 s later, and is replaced. Before its first heartbeat
    /// it may take as long as it likes, unless `ready_timeout` says otherwise. The supervisor looks only when a worker
    /// could really be late, and once more after a tenth of the timeout: a worker that hangs is found 1.1 × the timeout
    /// after its last heartbeat, to about 10 ms. Beat several times within the timeout. A worker that was told to stop
    /// need not beat any more. [`status`](crate::status) shows heartbeats with or without the option.
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
    /// A worker that may wait for long beats while it waits: with
    /// [`recv_timeout`](std::sync::mpsc::Receiver::recv_timeout), say, or a timer of its async runtime.
    #[inline]
    pub fn heartbeat(self) {
        scoreboard::heartbeat();
    }

    /// Asks for this worker to be replaced: after so many requests, say, because memory is fragmented or leaks.
    ///
    /// The worker goes on working. When it is its turn (one at a time, never the whole pool at once) it gets SIGTERM;
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
    /// A listener is handed over, so it can be asked for once; use
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
    pub fn get<T: FromWorker>(self) -> Result<T, Error> {
        T::from_worker(self)
    }

    /// The listener that has this name in `listen`: as a [`TcpListener`](std::net::TcpListener), a
    /// [`UnixListener`](std::os::unix::net::UnixListener) or a [`UdpSocket`](std::net::UdpSocket), or a `Vec` of these
    /// where the name's host may have several addresses; see [`FromListener`].
    ///
    /// It is handed over, so it can be asked for once.
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
    /// So ask first thing in `main`. Later calls return another handle of the same stop.
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

static IS_WORKER: AtomicBool = AtomicBool::new(false);
static TASK_ID: AtomicUsize = AtomicUsize::new(0);
static WORKERS: AtomicUsize = AtomicUsize::new(0);
static RESTARTS: AtomicUsize = AtomicUsize::new(0);

/// The task id of this worker; `None` outside a worker, as Tornado's `task_id()`. `Some(0)` under `PREFORK=off`.
pub fn task_id() -> Option<usize> {
    worker().map(Worker::task_id)
}

/// The handle of this worker; `None` outside a worker.
///
/// For code that does not get it as an argument, such as a `main` whose runtime attribute stands above `#[prefork]`.
pub fn worker() -> Option<Worker> {
    IS_WORKER.load(Ordering::Acquire).then(|| Worker {
        task_id: TASK_ID.load(Ordering::Relaxed),
        workers: WORKERS.load(Ordering::Relaxed),
        restarts: RESTARTS.load(Ordering::Relaxed),
    })
}

/// Makes this process a worker, which has these listeners and does not see these environment variables. They stay where
/// it may have other threads, which may read them. A process becomes one once: a worker cannot start workers.
pub(crate) fn become_worker(worker: Worker, listeners: Listeners, variables: &[String], alone: Option<&Alone>) {
    if let Some(alone) = alone {
        variables.iter().for_each(|variable| sys::remove_variable(variable, alone));
    }
    listen::give(listeners);
    TASK_ID.store(worker.task_id, Ordering::Relaxed);
    WORKERS.store(worker.workers, Ordering::Relaxed);
    RESTARTS.store(worker.restarts, Ordering::Relaxed);
    let before = IS_WORKER.swap(true, Ordering::Release);
    debug_assert!(!before, "the supervisor forks, and a supervisor is no worker");
}

/// What may be an argument of a `#[prefork]` function, and asked for with [`Worker::get`]. Sealed.
///
/// | type | what it is given |
/// |---|---|
/// | `usize`, `u32` | the task id |
/// | [`Worker`] | the handle of this worker |
/// | [`std::net::TcpListener`] | the TCP listener, where `listen` has exactly one TCP address |
/// | [`std::os::unix::net::UnixListener`] | the Unix socket, where `listen` has exactly one |
/// | [`std::net::UdpSocket`] | the UDP socket, where `listen` has exactly one UDP address |
/// | `Vec` of one of these three | all of that kind, in the order of `listen` |
/// | `tokio::net::TcpListener`, `UnixListener`, `UdpSocket`, and `Vec` of these, with the cargo feature `tokio` | the same, in non-blocking mode and registered with the runtime: for the body of an `async fn main` |
/// | `&T`, `&'static T` | what `preload` returned |
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a `#[prefork]` function",
    label = "not something prefork can pass to a worker",
    note = "accepted: `usize` or `u32` (the task id), `prefork_rt::Worker`, `std::net::TcpListener`, `UnixListener`, `UdpSocket` or a `Vec` of these (with `listen`), and `&T` for what `preload` returned",
    note = "for the types of `tokio::net` enable prefork-rt's cargo feature `tokio`; for those of another async runtime take the standard library's and convert it in the body, for example with `from_std`"
)]
pub trait FromWorker: Sized + sealed::Sealed {
    /// What must be there before the first fork.
    #[doc(hidden)]
    fn needs() -> Needs;

    /// Fills the argument, in the worker.
    #[doc(hidden)]
    fn from_worker(worker: Worker) -> Result<Self, Error>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// What an argument needs before the first fork.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Needs(pub(crate) Need);

impl Needs {
    pub(crate) fn listener(wanted: Wanted) -> Needs {
        Needs(Need::Listener(wanted))
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Need {
    Nothing,
    TaskId,
    Listener(Wanted),
    Preloaded { type_id: fn() -> TypeId, type_name: fn() -> &'static str },
}

macro_rules! task_id_as {
    ($($integer:ty),*) => {$(
        impl sealed::Sealed for $integer {}
        #[diagnostic::do_not_recommend]
        impl FromWorker for $integer {
            fn needs() -> Needs {
                Needs(Need::TaskId)
            }
            fn from_worker(worker: Worker) -> Result<Self, Error> {
                <$integer>::try_from(worker.task_id).map_err(|_| Error::Argument {
                    reason: format!("task id {} does not fit a {}: use usize", worker.task_id, stringify!($integer)),
                })
            }
        }
    )*};
}
task_id_as!(usize, u32);

impl sealed::Sealed for Worker {}
#[diagnostic::do_not_recommend]
impl FromWorker for Worker {
    fn needs() -> Needs {
        Needs(Need::Nothing)
    }
    fn from_worker(worker: Worker) -> Result<Self, Error> {
        Ok(worker)
    }
}

impl<T: Any + Sync> sealed::Sealed for &'static T {}
#[diagnostic::do_not_recommend]
impl<T: Any + Sync> FromWorker for &'static T {
    fn needs() -> Needs {
        Needs(Need::Preloaded { type_id: TypeId::of::<T>, type_name: type_name::<T> })
    }
    fn from_worker(_: Worker) -> Result<Self, Error> {
        preload::lent()
    }
}

/// Whether what the arguments need is there, before anything is forked.
pub(crate) fn check_needs(needs: &[Needs], labels: &[Label], explain: impl Fn(Error) -> Error) -> Result<(), Error> {
    let mut task_ids = 0;
    for Needs(need) in needs {
        match need {
            Need::Nothing => {}
            Need::TaskId => task_ids += 1,
            Need::Listener(wanted) => listen::check(labels.iter(), *wanted, None).map_err(&explain)?,
            Need::Preloaded { type_id, type_name } => preload::check(type_id(), type_name())?,
        }
    }
    if task_ids > 1 {
        return Err(Error::Argument {
            reason: "two arguments of main are integers, and both would be the task id: keep one, and ask \
                     Worker::workers() for the number of workers"
                .to_owned(),
        });
    }
    Kind::ALL.into_iter().try_for_each(|kind| check_takers(needs, kind))
}

/// Each kind of listener is handed over once, in one mode.
fn check_takers(needs: &[Needs], kind: Kind) -> Result<(), Error> {
    let takers: Vec<Wanted> = takers(needs, kind).collect();
    let ty = kind.type_name();
    let reason = match takers[..] {
        [] | [_] => return Ok(()),
        [first, ref more @ ..] if more.iter().any(|other| other.nonblocking != first.nonblocking) => format!(
            "one argument of main takes the {ty} of the standard library and another that of tokio, but a socket is in \
             blocking mode or not, for both: keep one"
        ),
        _ => format!(
            "two arguments of main take the {ty}, which is handed over once: keep one, and use try_clone() for a second \
             handle"
        ),
    };
    Err(Error::Argument { reason })
}

fn takers(needs: &[Needs], kind: Kind) -> impl Iterator<Item = Wanted> {
    needs.iter().filter_map(move |need| match need.0 {
        Need::Listener(wanted) if wanted.kind == kind => Some(wanted),
        _ => None,
    })
}

/// Whether an argument of main takes listeners of this kind as a type of tokio.
pub(crate) fn needs_nonblocking(needs: &[Needs], kind: Kind) -> bool {
    takers(needs, kind).any(|wanted| wanted.nonblocking)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn labels(kinds: &[Kind]) -> Vec<Label> {
        kinds.iter().map(|&kind| Label { kind, name: None }).collect()
    }

    #[test]
    fn what_can_be_given_once_is_asked_for_once() {
        let listener = <TcpListener as FromWorker>::needs();
        let listeners = <Vec<TcpListener> as FromWorker>::needs();
        let (id, worker) = (<u32 as FromWorker>::needs(), <Worker as FromWorker>::needs());
        let (one, two) = (labels(&[Kind::Tcp]), labels(&[Kind::Tcp; 2]));
        assert!(check_needs(&[worker, listener, id, worker], &one, |error| error).is_ok());
        assert!(check_needs(&[listeners], &two, |error| error).is_ok());
        for twice in [[listener, listeners], [listener, listener], [listeners, listeners], [id, id]] {
            assert!(check_needs(&twice, &one, |error| error).is_err());
        }
        assert!(check_needs(&[listener], &two, |error| error).is_err());
        assert!(check_needs(&[listeners], &[], |error| error).is_err());
    }

    #[test]
    fn one_of_each_kind_is_given_by_type() {
        let each = [
            <TcpListener as FromWorker>::needs(),
            <UnixListener as FromWorker>::needs(),
            <UdpSocket as FromWorker>::needs(),
        ];
        assert!(check_needs(&each, &labels(&[Kind::Udp, Kind::Tcp, Kind::Unix]), |error| error).is_ok());
        let why = |labels: &[Label]| check_needs(&each, labels, |error| error).unwrap_err().to_string();
        assert!(why(&labels(&[Kind::Tcp, Kind::Udp])).contains("listen has no Unix socket"));
        assert!(why(&labels(&[Kind::Tcp, Kind::Unix, Kind::Udp, Kind::Udp])).contains("has 2 UDP addresses"));
        assert!(why(&labels(&[Kind::Udp, Kind::Unix])).contains("listen has no TCP address"));
        assert!(why(&[]).contains("nothing is listened on: give an address"));
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn the_mode_of_a_socket_is_decided_once() {
        let (std, tokio) =
            (<TcpListener as FromWorker>::needs(), <Vec<tokio::net::TcpListener> as FromWorker>::needs());
        let why = check_needs(&[std, tokio], &labels(&[Kind::Tcp]), |error| error).unwrap_err().to_string();
        assert!(why.contains("blocking mode"), "{why}");
    }
}
