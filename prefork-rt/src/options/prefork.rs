//! The builder and its manual: one method per option. What `run` and `start` do is in `start.rs`.
//!
//! It must not know what an option does, nor what wins over the value given here.

use std::env;
use std::fmt;
#[cfg(doc)]
use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use super::environment::{Environment, Mode};
use super::into::{
    Given, IntoBackoff, IntoBool, IntoDuration, IntoListen, IntoMaxMemory, IntoMaxRestarts, IntoOptionalDuration,
    IntoOptionalText, IntoReload, IntoReloadWidth, IntoRestart, IntoWorkers,
};
use super::settings::Values;
use crate::error::Error;
use crate::grammar;
#[cfg(doc)]
use crate::grammar::{Reload, Restart};
use crate::inheritance::Inheritance;
use crate::supervisor::{SIGNALS, connections};
use crate::sys::{self, EarlyHandlers};
use crate::trust;
use crate::upgrade::Handoff;
use crate::worker::argument::Needs;

/// The builder, which starts and supervises the workers. `#[prefork]` expands to calls of its methods.
///
/// Each option has one method, with the name and default of the attribute's argument. A value that cannot be used is
/// reported by [`start`](Self::start) and [`run`](Self::run), before anything is forked, with exit status 2. The
/// environment variable of an option (`PREFORK_WORKERS` for `workers`, and so on) wins over the value given here, unless
/// the value is a [`CommandLine`](crate::CommandLine). [`new`](Self::new) reads the variables.
///
/// Every method takes an `Option` of a value, too, where it can be copied (`Option<usize>`) or by reference
/// (`&Option<String>`). `None` is as if the method were not called.
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
    /// These are boxed, so that the builder is small: each of its methods moves it, and so does each function that a worker
    /// returns through.
    pub(crate) code: Box<Values>,
    pub(crate) environment: Box<Environment>,
    pub(crate) inheritance: &'static Inheritance,
    pub(crate) needs: Vec<Needs>,
    pub(crate) error: Option<Error>,
    /// Present until the pool starts or the start fails. `None` under `PREFORK=off` and `PREFORK=check`.
    pub(crate) signals: Option<EarlyHandlers>,
}

/// Prints the values that the code gave, not those of the environment.
impl fmt::Debug for Prefork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefork").field("code", &self.code).field("error", &self.error).finish_non_exhaustive()
    }
}

impl Prefork {
    /// Makes a builder with every option at its default, except for those that `PREFORK_…` environment variables set.
    /// Reads these variables.
    ///
    /// A variable that cannot be used is reported by [`start`](Self::start) and [`run`](Self::run).
    ///
    /// From here on a SIGTERM, SIGINT or SIGQUIT ends the program at once with exit status 0, also as PID 1. SIGHUP,
    /// SIGUSR1 and SIGUSR2 are kept until the pool runs. Handlers do this for each of these signals that the program
    /// neither handles nor ignores, until the pool is started, its start has failed, or this value is dropped.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     // First thing in `main`, so that no signal comes too early.
    ///     let prefork = Prefork::new();
    ///     // … what is loaded once, for all workers
    ///     prefork.workers(4).run(|worker| println!("worker {}", worker.task_id()))
    /// }
    /// ```
    pub fn new() -> Self {
        let signals = sys::catch_early(&SIGNALS);
        connections::note_inherited();
        // Before the first line, so that a signal handler can write one.
        sys::recognize_journal();
        let inheritance = Inheritance::of_this_process();
        let (mut environment, read) = Environment::read(env::vars_os(), trust::in_options());
        environment.warn_of_distrusted(inheritance.distrusted().into_iter());
        let taken = inheritance.take(environment.handoff.as_deref(), environment.mode == Mode::Check);
        let signals = keep_or_leave(environment.mode, signals, &inheritance.handoff);
        let error = read.and(taken).err();
        Prefork {
            code: Box::default(),
            environment: Box::new(environment),
            inheritance,
            needs: Vec::new(),
            error,
            signals,
        }
    }

    /// How many workers: a `usize`, a [`NonZeroUsize`], `"auto"`, or an `Option<usize>`. Default: `"auto"`, also for `None`.
    ///
    /// 0 and `"auto"` mean [`cpu_count()`](crate::cpu_count), as in Tornado. More than 4,194,304 workers are refused,
    /// because Linux cannot have more processes. Environment: `PREFORK_WORKERS`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// // Four workers, whatever the machine is.
    /// let builder = Prefork::new().workers(4);
    /// # drop(builder);
    /// ```
    pub fn workers(mut self, workers: impl IntoWorkers) -> Self {
        self.code.workers = self.accept("workers", workers.into_workers());
        self
    }

    /// How many abnormal exits are replaced, over all workers, before giving up: a `usize` or `"unlimited"`. Default:
    /// 100, as in Tornado, or 10 for each of the [`workers`](Self::workers), where that is more: 1280 for 128 workers.
    ///
    /// Abnormal exits count for the lifetime of the supervisor, or within the [`restart_window`](Self::restart_window).
    /// The first exit beyond the number stops the other workers gracefully, and the supervisor exits with status 1.
    /// With 0 no worker is replaced after an abnormal exit. A line at the start warns of a number that is smaller than
    /// the number of workers. SIGTTIN and SIGTTOU do not change the default. Environment: `PREFORK_MAX_RESTARTS`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// // A client that can crash a worker must not end the service.
    /// let builder = Prefork::new().max_restarts("unlimited");
    /// # drop(builder);
    /// ```
    pub fn max_restarts(mut self, max_restarts: impl IntoMaxRestarts) -> Self {
        self.code.max_restarts = self.accept("max_restarts", max_restarts.into_max_restarts());
        self
    }

    /// For how long a restart counts against [`max_restarts`](Self::max_restarts): a [`Duration`], a string such as
    /// `"10m"`, or `None`. Default: `None`, or `"none"`: for the lifetime of the supervisor, as in Tornado.
    ///
    /// `max_restarts = 10` with `restart_window = "1m"` gives up at the eleventh abnormal exit within a minute: the
    /// intensity and period of an Erlang/OTP supervisor. Without a window, a service that runs for years gives up one
    /// day, however rarely it fails. `"0s"` is refused. Environment: `PREFORK_RESTART_WINDOW`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// // Gives up at the eleventh abnormal end within a minute.
    /// let builder = Prefork::new().max_restarts(10).restart_window("1m");
    /// # drop(builder);
    /// ```
    pub fn restart_window(mut self, restart_window: impl IntoOptionalDuration) -> Self {
        let window = restart_window.into_optional_duration().and_then(grammar::check_restart_window);
        self.code.restart_window = self.accept("restart_window", window);
        self
    }

    /// Which workers are replaced when they end by themselves: a [`Restart`], `"on-failure"` or `"always"`. Default:
    /// `"on-failure"`, as in Tornado.
    ///
    /// With `"on-failure"` a worker that exits with status 0 has finished, and the supervisor ends when all workers
    /// have finished. With `"always"` such a worker is replaced too, as under runit, s6 or systemd's `Restart=always`.
    /// Its replacement does not count against [`max_restarts`](Self::max_restarts). A task id whose workers end quickly
    /// again and again still waits for the [`backoff`](Self::backoff). Environment: `PREFORK_RESTART`.
    ///
    /// ```no_run
    /// use prefork_rt::{Prefork, Restart};
    ///
    /// // A worker that has emptied its queue and returns is started again.
    /// let builder = Prefork::new().restart(Restart::Always);
    /// # drop(builder);
    /// ```
    pub fn restart(mut self, restart: impl IntoRestart) -> Self {
        self.code.restart = self.accept("restart", restart.into_restart());
        self
    }

    /// From SIGTERM to SIGKILL when workers are stopped: a [`Duration`] or a string such as `"25s"`. Default: 25 s.
    ///
    /// `"0s"` gives no time at all. Under Kubernetes keep `terminationGracePeriodSeconds` at least 5 s longer. `docker
    /// stop` waits 10 s unless told otherwise. Environment: `PREFORK_GRACEFUL_TIMEOUT`.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use prefork_rt::Prefork;
    ///
    /// // A request takes at most 55 s.
    /// let builder = Prefork::new().graceful_timeout(Duration::from_secs(60));
    /// # drop(builder);
    /// ```
    pub fn graceful_timeout(mut self, graceful_timeout: impl IntoDuration) -> Self {
        self.code.graceful_timeout = self.accept("graceful_timeout", graceful_timeout.into_duration());
        self
    }

    /// How long the pool serves on after a SIGTERM, before it tells workers to stop: a [`Duration`] or a string such as
    /// `"5s"`. Default: `"0s"`: workers are told at once.
    ///
    /// Load balancers go on sending new connections until they notice that this service stops. Until the delay is over,
    /// workers accept them, and a worker that ends is replaced and counted as ever. A reload, an upgrade or another number
    /// of workers is refused with a line. Recycling waits, and replacements that are not ready are stopped. A service
    /// manager is told `STOPPING=1` at once, and asked for the delay and the [`graceful_timeout`](Self::graceful_timeout)
    /// that begins after it. The pool ends sooner when all workers have finished.
    ///
    /// SIGTERM, and a SIGINT that a process sends, wait. Ctrl-C and a terminal that goes away stop the pool gracefully
    /// without the delay.
    /// During the delay SIGINT and SIGQUIT kill at once, and another SIGTERM changes nothing. A pool that gives up does
    /// not wait either: a delay that was asked for ends then, and the exit status is that of the stop. Under
    /// `PREFORK=off` the option is not used, because the one process gets the SIGTERM itself.
    ///
    /// Under Kubernetes this takes the place of a `preStop` sleep: see
    /// [Containers and Kubernetes](crate::guide::containers_and_kubernetes#stopping). Keep
    /// `terminationGracePeriodSeconds` at least 5 s above `drain_delay` + `graceful_timeout`. Environment:
    /// `PREFORK_DRAIN_DELAY`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Prefork::new().listen("*:8080").drain_delay("5s").graceful_timeout("20s").run(|worker| {
    ///         worker.shutdown().wait(); // five seconds after the SIGTERM
    ///     })
    /// }
    /// ```
    pub fn drain_delay(mut self, drain_delay: impl IntoDuration) -> Self {
        self.code.drain_delay = self.accept("drain_delay", drain_delay.into_duration());
        self
    }

    /// How long to wait before a restart, per task id: a string such as `"100ms..1s"`, a range of [`Duration`]s, or one
    /// duration for a delay that does not grow. Either kind of range includes its end. Default: `"100ms..1s"`; `"0s"`
    /// never waits.
    ///
    /// The first replacement is immediate. If it too ends abnormally within 10 s of its start, the next start waits for
    /// the first delay. Each further delay is twice the last, up to the longest. Up to a quarter is added at random
    /// within that limit, so that workers that failed together do not return together. A worker that lived for 10 s is
    /// replaced at once, and the delays begin anew.
    ///
    /// With [`ready_timeout`](Self::ready_timeout), a worker that was ready for 1 s proves that the service works, so
    /// its replacement starts at once. For 10 s after its end, the replacement of a worker that was ready for less than
    /// 1 s waits only for the first delay. So a client whose requests crash workers slows other clients as little as
    /// possible. Environment: `PREFORK_BACKOFF`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// // Leaves a database that is down more time.
    /// let builder = Prefork::new().backoff("500ms..30s");
    /// # drop(builder);
    /// ```
    pub fn backoff(mut self, backoff: impl IntoBackoff) -> Self {
        self.code.backoff = self.accept("backoff", backoff.into_backoff());
        self
    }

    /// What to listen on: a string, a [`SocketAddr`] for TCP, or an array, slice or `Vec` of either. Default: none,
    /// which `"none"` and `None` mean too.
    ///
    /// | written | is |
    /// |---|---|
    /// | `"127.0.0.1:8080"`, `"[::]:80"` | a TCP address; with port 0 the system chooses the port, which is logged |
    /// | `"localhost:8080"` | all TCP addresses that the name has when the program starts; with port 0 they have one port |
    /// | `"*:8080"`, `":8080"` | every address of this machine, of each family that it has |
    /// | `"udp:127.0.0.1:5353"` | a UDP address; all forms for TCP work with `udp:` too |
    /// | `"unix:/run/app.sock?mode=660&owner=www-data&group=www-data"` | a Unix socket; each parameter can be left out |
    /// | `"admin=127.0.0.1:9000"`, `"local=unix:/run/app.sock"` | any of these, with a name for [`Worker::listener`](crate::Worker::listener) |
    /// | `"127.0.0.1:8080, admin=127.0.0.1:9000"` | several, as in a list |
    ///
    /// The supervisor binds the addresses once, before the first fork. If there is exactly one listener of a type, a
    /// worker can take it as an argument: a [`TcpListener`](std::net::TcpListener),
    /// [`UnixListener`](std::os::unix::net::UnixListener) or [`UdpSocket`](std::net::UdpSocket). A `Vec` takes several
    /// of a type, and [`Worker::listener`](crate::Worker::listener) gives each by its name. They are in blocking mode.
    /// With the cargo feature `tokio` the types of these names in `tokio::net` are accepted too, and prefork sets the
    /// non-blocking mode.
    ///
    /// An address in use is tried again for 2 s. After that the start fails with exit status 1. A name without an
    /// address fails with 1 too. If a name has addresses that belong to no interface of this machine, they are left out
    /// with a warning. `[::]` serves IPv4 too, unless the list has an IPv4 address with the same port. `*` is one
    /// socket everywhere: `[::]`, or `0.0.0.0` where there is no IPv6. On `[::]` the address of an IPv4 client reads
    /// `::ffff:192.0.2.1` (see [`IpAddr::to_canonical`](std::net::IpAddr::to_canonical)).
    ///
    /// A Unix socket's file has its mode, owner and group before any client can connect. The mode is octal. Without
    /// one, it is what the umask leaves of 777. A file on which another process listens is in use. A file on which no
    /// process listens is replaced. A lock ensures that only one of two servers starting at once replaces it; the other
    /// is refused. A file that is no socket is an error. The supervisor removes the file at its end, unless another
    /// process has replaced it or a service manager has stored the socket.
    ///
    /// Sockets that the program is started with (`LISTEN_FDS`, sd_listen_fds(3), systemd's socket units) take the place
    /// of all entries. A socket whose name (`LISTEN_FDNAMES`) is that of an entry serves that entry. The other entries
    /// take the remaining sockets in order, one each. Without entries, each socket is a listener under its own name.
    /// Sockets that do not fit in kind or number are refused with exit status 2. The chapter
    /// [systemd](crate::guide::systemd) describes this and the descriptor store. Environment: `PREFORK_LISTEN`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// let builder = Prefork::new().listen(["*:8080", "admin=unix:/run/app/admin.sock?mode=660"]);
    /// # drop(builder);
    /// ```
    pub fn listen(mut self, listen: impl IntoListen) -> Self {
        self.code.listen = self.accept("listen", listen.into_listen());
        self
    }

    /// Whether each worker has sockets of its own, for the TCP and UDP addresses of [`listen`](Self::listen). Default:
    /// `false`; all workers then share one socket per address.
    ///
    /// With `true` the supervisor makes one SO_REUSEPORT socket per slot and address, keeps all of them open, and gives
    /// each worker those of its slot. The kernel spreads connections evenly over the slots. Connections queued for a
    /// killed worker wait for its replacement. nginx's `reuseport`, and workers that bind their own sockets, lose them.
    /// While no worker of a slot accepts, new connections are steered to the other slots: during its backoff, during a
    /// reload in the style `"exclusive"`, and until its new worker is ready. Before SIGTTOU tells a worker to stop, the
    /// worker accepts the connections in its queue. The [guide](crate::guide::a_socket_per_worker) says when to choose
    /// this option.
    ///
    /// UDP datagrams of one sender go to one slot, and to another one when the slots that accept change. Unix sockets
    /// stay shared, and so do sockets that the program is started with. The supervisor holds one descriptor per worker
    /// and address, so RLIMIT_NOFILE must allow that many. An address that another process listens on is in use,
    /// whether that process shares it or not. An upgrade keeps the sockets, but cannot change this option at an address
    /// that it keeps. The sockets are not put into a service manager's [descriptor store](crate::guide::systemd), so a
    /// restart of the unit loses the connections queued in them.
    ///
    /// The option works on Linux, and on FreeBSD (SO_REUSEPORT_LB) without the steering. Elsewhere it is refused with
    /// exit status 2. Environment: `PREFORK_REUSE_PORT`, `true` or `false`.
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    /// use prefork_rt::Prefork;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Prefork::new().listen("127.0.0.1:8080").reuse_port(true).run(|worker| -> Result<(), prefork_rt::Error> {
    ///         let own: TcpListener = worker.get()?;
    ///         // …
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn reuse_port(mut self, reuse_port: impl IntoBool) -> Self {
        self.code.reuse_port = self.accept("reuse_port", reuse_port.into_bool());
        self
    }

    /// How long a worker may take from its start until it calls [`Worker::ready()`](crate::Worker::ready): a
    /// [`Duration`], a string such as `"30s"`, or `None`. Default: `None`, or `"none"`: a worker is ready when its body
    /// starts.
    ///
    /// A worker that is not ready in time is killed by SIGKILL and counted as a restart. This is systemd's
    /// `Type=notify` and `TimeoutStartSec=`, for each worker. If a task id's worker ends twice in a row before it was
    /// ready, and the pool has never been ready, the service ends at once with status 1. So a service that cannot boot
    /// fails after two tries, not after a hundred restarts. `"0s"` is refused.
    ///
    /// Environment: `PREFORK_READY_TIMEOUT`, which can change or switch off what the code sets. If the code sets no
    /// timeout, the program does not announce that it is ready, so the variable is ignored with a warning.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// // A worker loads its model, then calls `ready()`.
    /// let builder = Prefork::new().ready_timeout("2m");
    /// # drop(builder);
    /// ```
    pub fn ready_timeout(mut self, ready_timeout: impl IntoOptionalDuration) -> Self {
        let timeout = ready_timeout.into_optional_duration().and_then(grammar::check_ready_timeout);
        self.code.ready_timeout = self.accept("ready_timeout", timeout);
        self
    }

    /// How long a worker that has called [`Worker::heartbeat()`](crate::Worker::heartbeat) may go without calling it
    /// again: a [`Duration`] from 100 ms to 500 h, a string such as `"30s"`, or `None`. Default: `None`, or `"none"`:
    /// heartbeats are not watched.
    ///
    /// A worker that is silent for longer hangs. It gets SIGABRT, which leaves a core dump where these are enabled.
    /// SIGKILL follows after 5 s or, while a core dump is being written, once that is done (5 min at most). The worker
    /// is replaced and counted, like a worker that misses gunicorn's `timeout` or systemd's `WatchdogSec=`. Before a
    /// worker's first heartbeat only [`ready_timeout`](Self::ready_timeout) applies. The silence is checked again a
    /// tenth of the timeout later. If the supervisor itself was late by more than a quarter of the timeout, because it
    /// was stopped, frozen or starved, every worker gets a fresh interval. A worker that a debugger holds is left alone
    /// until the debugger detaches. Environment: `PREFORK_HEARTBEAT_TIMEOUT`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// // The work loop calls `heartbeat()` at least every few seconds.
    /// let builder = Prefork::new().heartbeat_timeout("30s");
    /// # drop(builder);
    /// ```
    pub fn heartbeat_timeout(mut self, heartbeat_timeout: impl IntoOptionalDuration) -> Self {
        let timeout = heartbeat_timeout.into_optional_duration().and_then(grammar::check_heartbeat_timeout);
        self.code.heartbeat_timeout = self.accept("heartbeat_timeout", timeout);
        self
    }

    /// After how long a worker is recycled: a [`Duration`], a string such as `"1h"`, or `None`. Default: `None`, or
    /// `"none"`: never.
    ///
    /// Recycling is a graceful stop and a replacement in the style of [`reload`](Self::reload), of as many
    /// workers at once as [`reload_width`](Self::reload_width) says. It does not count against [`max_restarts`](Self::max_restarts). Each worker's lifetime is up to a tenth shorter
    /// or longer, at random, so that workers that started together do not end together. This is uWSGI's
    /// `max-worker-lifetime`, with the jitter of gunicorn's `max_requests`. `"0s"` is refused. Environment:
    /// `PREFORK_MAX_LIFETIME`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// // A library that leaks a little does no harm.
    /// let builder = Prefork::new().max_lifetime("6h");
    /// # drop(builder);
    /// ```
    pub fn max_lifetime(mut self, max_lifetime: impl IntoOptionalDuration) -> Self {
        let lifetime = max_lifetime.into_optional_duration().and_then(grammar::check_max_lifetime);
        self.code.max_lifetime = self.accept("max_lifetime", lifetime);
        self
    }

    /// The private memory above which a worker is recycled: a `u64` of bytes, a string such as `"512MiB"` (units: KiB,
    /// MiB, GiB, TiB; a plain number is bytes), or `None`. Default: `None`, or `"none"`: never.
    ///
    /// Only private memory counts, not memory shared with the supervisor and the other workers. It is measured every 10
    /// s. Recycling is as for [`max_lifetime`](Self::max_lifetime): graceful and not counted.
    /// uWSGI's `reload-on-rss` does this with all memory, shared or not. The value is a threshold, not a limit: a
    /// worker can exceed it between two measurements. Keep it well above what a fresh worker has, or each worker is
    /// recycled at its first measurement. Less than 1 MiB is refused, and so is the option on systems other than Linux.
    /// Environment: `PREFORK_MAX_MEMORY`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// let builder = Prefork::new().max_memory("512MiB");
    /// # drop(builder);
    /// ```
    pub fn max_memory(mut self, max_memory: impl IntoMaxMemory) -> Self {
        self.code.max_memory = self.accept("max_memory", max_memory.into_max_memory());
        self
    }

    /// In which order a reload (SIGHUP) or an upgrade (SIGUSR2) replaces a worker: a [`Reload`], `"overlap"` or
    /// `"exclusive"`. Default: `"overlap"`.
    ///
    /// With `"overlap"` the new worker must be ready before the old one is told to stop, as in nginx and unicorn, so
    /// that no client waits. Meanwhile two live workers have one task id. With `"exclusive"` the old worker ends first,
    /// so that there are never two. Use that for workers that own what their task id stands for, such as a file or a
    /// partition.
    ///
    /// A replacement that fails or is not ready in time ends the reload. With `"overlap"` the old worker then stays.
    /// With `"exclusive"` the replacement is restarted like any other worker. Recycling follows this option too. A
    /// reload starts workers of the running binary, with its options and its value of `preload`. An
    /// [upgrade](crate::guide::upgrade) applies new ones. Environment: `PREFORK_RELOAD`.
    ///
    /// ```no_run
    /// use prefork_rt::{Prefork, Reload};
    ///
    /// // Each worker has a file of its own, which two at once would spoil.
    /// let builder = Prefork::new().reload(Reload::Exclusive);
    /// # drop(builder);
    /// ```
    pub fn reload(mut self, reload: impl IntoReload) -> Self {
        self.code.reload = self.accept("reload", reload.into_reload());
        self
    }

    /// How many workers a reload (SIGHUP), an upgrade (SIGUSR2) or recycling replaces at once: a `usize`, or a string with
    /// a number or a percentage. Default: `"25%"`: a quarter of the workers, which is one of four, two of eight, eight of
    /// 32.
    ///
    /// A percentage is of the workers that are wanted now, as SIGTTIN and SIGTTOU have it. It is rounded down, and at
    /// least one worker. Reload, upgrade and recycling share the width. A worker's turn lasts until the old worker has
    /// ended, and the next turn begins then. With the style `"overlap"` (see [`reload`](Self::reload)) there are never
    /// more than `workers` + `reload_width` processes, so the width times the memory of one worker is what a reload
    /// needs. With `"exclusive"`, up to `reload_width` workers do not serve. `1` replaces one worker at a time.
    ///
    /// An upgrade replaces the first worker alone. The width applies once that worker has proved the new binary. The
    /// [guide](crate::guide::readiness_and_reload) says what becomes of the other turns when a replacement fails.
    /// `0`, `"0%"` and more than `"100%"` are refused. Environment: `PREFORK_RELOAD_WIDTH`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     // Workers drain for a minute: a reload of 32 takes two minutes, and needs the memory of 48.
    ///     Prefork::new().workers(32).graceful_timeout("60s").reload_width("50%").run(|worker| {
    ///         worker.shutdown().wait();
    ///     })
    /// }
    /// ```
    pub fn reload_width(mut self, reload_width: impl IntoReloadWidth) -> Self {
        self.code.reload_width = self.accept("reload_width", reload_width.into_reload_width());
        self
    }

    /// The user that workers become after the listeners are open: a name, a number as a string, or `None`. Default:
    /// `None`, or `"none"`: workers keep the supervisor's user.
    ///
    /// The supervisor stays root, binds ports below 1024, and can replace any worker. The processes that serve clients
    /// can read and signal no more than that user can, as with nginx's `user` and gunicorn's `--user`. Each worker
    /// becomes the user for good (real, effective and saved user id, without capabilities). Its group is the user's
    /// primary group unless [`group`](Self::group) says otherwise. It has the supplementary groups that the system
    /// lists for that user, and none of root's. All of this is looked up once, before the first fork. A set-user-ID
    /// program that a worker executes still gets the rights of its file, unless [`no_new_privs`](Self::no_new_privs) is
    /// set. [`after_fork`](crate::after_fork) hooks and the body run as that user. `preload` runs, and the listeners
    /// are bound, before the change. The environment and the working directory stay as they are, and so does the umask
    /// without [`umask`](Self::umask).
    ///
    /// The option needs root, or CAP_SETUID, CAP_SETGID and CAP_KILL. Without CAP_KILL a supervisor could not stop its
    /// workers. A program that already runs as that user, with that user's groups, needs none of these. Its workers
    /// then only drop the capabilities of the program. A user is refused before the first fork, with exit status 2, if
    /// it does not exist, if this process may not become it, or if this process does not have the user's groups and may
    /// not take them. A user called `none` has to be given by number. A number without an entry in the system's list
    /// needs [`group`](Self::group) too.
    ///
    /// A log line names the workers' user and all their groups. Each worker verifies them before it runs your code. A
    /// warning says when the environment keeps workers root although the code names another user. An
    /// [upgrade](crate::guide::upgrade) is refused where workers could have changed what it would run.
    ///
    /// Each worker leads a session of its own, without a controlling terminal, and has an empty session keyring
    /// (keyctl(2), where the system allows it). Where standard output, standard error or another descriptor is the
    /// terminal, the worker has it for writing only. A program that may not open that terminal again is refused, with
    /// exit status 2. `setsid(2)` fails in a worker, because it leads its session already.
    ///
    /// No worker outlives its supervisor under this option either. The kernel protects a process that changed its user.
    /// The files in its `/proc/PID` belong to root, so only root can attach a debugger. The worker cannot open
    /// `/dev/stderr` by name where that is a pipe of root's. It leaves no core dump, unless the sysctl
    /// `fs.suid_dumpable` is 2 or the worker calls prctl(2) with `PR_SET_DUMPABLE`. For
    /// [`max_memory`](Self::max_memory) the supervisor then needs CAP_SYS_PTRACE, which root has, but by default not in
    /// a Docker container. Under `PREFORK=off` the one process becomes that user too. `PREFORK=check` checks whether it
    /// could. Environment: `PREFORK_USER`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// // Root binds port 80, and the workers are www-data.
    /// let builder = Prefork::new().listen("*:80").user("www-data");
    /// # drop(builder);
    /// ```
    pub fn user(mut self, user: impl IntoOptionalText) -> Self {
        self.code.user = self.accept_text("user", user, grammar::account);
        self
    }

    /// The group that workers become after the listeners are open: a name, a number as a string, or `None`. Default:
    /// `None`, or `"none"`: the primary group of [`user`](Self::user) where that is given, else the supervisor's group.
    ///
    /// With `user` this group takes the place of that user's primary group, and the user's supplementary groups stay.
    /// Without `user` it becomes the only group, and workers have no supplementary groups. Root's supplementary groups
    /// would give workers back the rights that the option removes. (gunicorn leaves them; nginx has no such case.) The
    /// option needs root or CAP_SETGID, unless the program has that group already and no other. The user stays, with
    /// the capabilities that it has. The rest of the text on `user` holds here too. Environment: `PREFORK_GROUP`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// let builder = Prefork::new().listen("*:80").user("www-data").group("adm");
    /// # drop(builder);
    /// ```
    pub fn group(mut self, group: impl IntoOptionalText) -> Self {
        self.code.group = self.accept_text("group", group, grammar::account);
        self
    }

    /// Whether workers, and the programs that they execute, are kept from gaining rights: a `bool`. Default: `false`.
    ///
    /// With `true` each worker calls prctl(2) with `PR_SET_NO_NEW_PRIVS` once it has changed to [`user`](Self::user)
    /// and [`group`](Self::group), before the first hook and the body. From then on the set-user-ID and set-group-ID
    /// bits and the file capabilities of the programs that it executes have no effect, for ever, and in its children
    /// too. So a worker that was taken over cannot become root by way of `su` or `sudo`. It cannot use `sendmail` or
    /// `ping` either, where these need such bits. The option works without `user`, because any process may do this. It
    /// is systemd's `NoNewPrivileges=`, for the workers alone. Under `PREFORK=off` the one process does it, for the
    /// calling thread and what that starts. The option is refused on systems other than Linux. Environment:
    /// `PREFORK_NO_NEW_PRIVS`, `true` or `false`.
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    /// use prefork_rt::Prefork;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Prefork::new().listen("*:80").user("nobody").no_new_privs(true).run(|worker| -> Result<(), prefork_rt::Error> {
    ///         let listener: TcpListener = worker.get()?;
    ///         // …
    ///         Ok(())
    ///     })
    /// }
    /// ```
    pub fn no_new_privs(mut self, no_new_privs: impl IntoBool) -> Self {
        self.code.no_new_privs = self.accept("no_new_privs", no_new_privs.into_bool());
        self
    }

    /// Whether data that was loaded before the first fork is moved into huge pages: a `bool`. Default: `true`.
    ///
    /// A fork copies an entry of the page table for each page of private memory: 25 ms and more for 1 GiB in pages of 4
    /// KiB, 0.4 ms in huge pages. So once `preload` and the option expressions have run and everything else is ready, the
    /// supervisor moves its private memory into huge pages: those parts in which all pages are in use, so that it needs
    /// no more memory. [`SharedBytes`](crate::SharedBytes) are moved after it. It leaves mapped files, other shared memory,
    /// stacks, and mappings that refuse huge pages as they are. A program that has never had 64 MiB resident is left alone.
    ///
    /// The memory is copied once, which takes 0.3 s of CPU time for 1 GiB, and up to 4 s in a virtual machine whose host has
    /// yet to find the memory. By default it ends when it has used 5 s of CPU time, or as much as the program had used until
    /// then if that is more. A `true` that is given has no such bound. With `false` nothing is moved. One line of the log
    /// says how much was moved and how long it took. The numbers, and what else helps, are in
    /// [Large data](crate::guide::large_data).
    ///
    /// It needs Linux 6.1 with transparent huge pages; `never` in
    /// `/sys/kernel/mm/transparent_hugepage/enabled` does not matter, but a process that has set `PR_SET_THP_DISABLE` gets
    /// none. Where nothing can be done, the default does nothing, and an explicit `true` gives a warning, or is refused on systems
    /// other than Linux. Under `PREFORK=off` and `PREFORK=check` the option has no effect. Environment:
    /// `PREFORK_HUGE_PAGES`, `true` or `false`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     let table: Vec<u64> = (0..100_000_000).collect();
    ///     // A short start matters here, and restarts may take longer.
    ///     Prefork::new().huge_pages(false).run(|worker| println!("{}", table[worker.task_id()]))
    /// }
    /// ```
    pub fn huge_pages(mut self, huge_pages: impl IntoBool) -> Self {
        self.code.huge_pages = self.accept("huge_pages", huge_pages.into_bool());
        self
    }

    /// The umask of workers, the permission bits that their new files lack: octal text such as `"027"`, or `None`.
    /// Default: `None`, or `"none"`: workers have the umask of the supervisor.
    ///
    /// The largest value is `"777"`. `"0027"` and `"0o27"` mean `"027"`, as shells and Rust write it. A number without
    /// quotes is refused, because `27` and `027` are the same number in Rust, which is not octal. Each worker sets its
    /// umask before the first [`after_fork`](crate::after_fork) hook and the body, also after a restart, a reload and
    /// an upgrade. `preload` runs with the supervisor's umask. The option does not affect the file of a Unix socket
    /// (see `?mode=` at [`listen`](Self::listen)). systemd's `UMask=` is for the supervisor and the workers. Under
    /// `PREFORK=off` the one process sets the umask, once the listeners are open. Environment: `PREFORK_UMASK`.
    ///
    /// ```no_run
    /// use prefork_rt::Prefork;
    ///
    /// fn main() -> std::process::ExitCode {
    ///     // Other users cannot read what workers write.
    ///     Prefork::new().listen("*:80").user("app").umask("027").run(|worker| {
    ///         std::fs::write(format!("worker-{}.log", worker.task_id()), "started\n")
    ///     })
    /// }
    /// ```
    pub fn umask(mut self, umask: impl IntoOptionalText) -> Self {
        self.code.umask = self.accept_text("umask", umask, grammar::umask);
        self
    }

    fn accept_text<V>(
        &mut self,
        name: &'static str,
        text: impl IntoOptionalText,
        read: fn(&str) -> Result<Option<V>, String>,
    ) -> Option<Option<V>> {
        self.accept(name, text.into_optional_text().and_then(|text| text.map_or(Ok(None), |text| read(&text))))
    }

    fn accept<V>(&mut self, name: &'static str, given: Given<V>) -> Option<V> {
        self.code.wins_over_the_environment(name, given.is_from_command_line && given.value.is_some());
        match given.value? {
            Ok(value) => Some(value),
            Err(reason) => {
                self.error.get_or_insert(Error::Option { name, reason });
                None
            }
        }
    }
}

/// Keeps the signals for the pool, or leaves them to the program where no pool will start.
fn keep_or_leave(mode: Mode, signals: EarlyHandlers, handoff: &Handoff) -> Option<EarlyHandlers> {
    match mode {
        Mode::On => {
            if let Some(received) = &*handoff.received() {
                signals.keep_for_the_pool(&received.state.signals.blocked);
            }
            Some(signals)
        }
        Mode::Off | Mode::Check => {
            signals.leave_to_the_program();
            None
        }
    }
}

impl Default for Prefork {
    fn default() -> Self {
        Prefork::new()
    }
}

#[cfg(test)]
mod tests;
