//! The order of a start: what is wrong before the first fork forks nothing.
//!
//! `Prefork::new` has come before it (`options/prefork.rs`: the early signal handlers, the inheritance, the environment),
//! and so has `preload` (`expansion.rs`). After it comes the supervisor's loop, which forks the workers.

mod checks;
mod huge_pages;

use std::borrow::Cow;
use std::mem;
use std::ops::ControlFlow;
use std::process::{ExitCode, Termination};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::amounts;
use crate::error::Error;
use crate::identity::{Identity, identity};
use crate::inheritance::Inheritance;
use crate::listen::{self, BoundBefore, Listeners, Purpose};
use crate::logging;
use crate::notify::{Address, Manager};
use crate::options::{Environment, Mode, Prefork, Settings};
use crate::policy::{Readiness, Rules};
use crate::scoreboard::{self, Publisher};
use crate::supervisor::attributes::Attributes;
use crate::supervisor::credentials::{Credentials, stays_root};
use crate::supervisor::detachment::{self, Detachment};
use crate::supervisor::fork_check::ForkCheck;
use crate::supervisor::{Outcome, Service, become_worker, flush_buffers, supervise};
use crate::sys::{self, Threads};
use crate::upgrade::Handoff;
use crate::worker::argument::{check_needs, needs_nonblocking};
use crate::worker::{Worker, after_fork, tie};
use checks::{
    check_addresses_can_be_shared, check_memory_can_be_measured, check_this_is_linux, find_python,
    warn_of_a_replaceable_binary, warn_of_few_restarts,
};

/// Which process this is after [`Prefork::start`].
///
/// A fork leaves two kinds of process, and there will be no third, so that a `match` needs no arm for others.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use prefork_rt::{Prefork, Role};
///
/// fn main() -> ExitCode {
///     match Prefork::new().workers(4).start() {
///         Ok(Role::Worker(worker)) => println!("worker {}", worker.task_id()),
///         Ok(Role::Supervisor(code)) => {
///             println!("all workers have ended");
///             return code;
///         }
///         Err(error) => {
///             eprintln!("{error}");
///             return error.exit_code();
///         }
///     }
///     ExitCode::SUCCESS
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// A worker: run the body.
    Worker(Worker),
    /// The first process, when no worker is left: exit with this status.
    Supervisor(ExitCode),
}

impl Prefork {
    /// Starts the workers, runs `body` in each, and supervises them until none is left: what `#[prefork]` does.
    ///
    /// In a worker it returns what `body` returned, as an exit status; in the first process the status that says how
    /// it ended (see [Signals and exit status](crate::guide::signals_and_exit_status)). Return it from `main` in both.
    /// In the first process `body` is neither run nor dropped.
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    ///
    /// fn main() -> ExitCode {
    ///     prefork_rt::Prefork::new().workers(4).run(|worker| println!("worker {}", worker.task_id()))
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Only as `body` does, in the worker: the exit status is then 101, as in any program.
    #[must_use = "without it the exit status is lost, and a worker that failed counts as finished: return it from `main`"]
    pub fn run<T: Termination>(self, body: impl FnOnce(Worker) -> T) -> ExitCode {
        let code = match self.start() {
            Ok(Role::Worker(worker)) => {
                let returned = body(worker);
                if !tie::has_supervisor() {
                    // Under PREFORK=off this is the process that made them.
                    listen::remove_files();
                }
                return returned.report();
            }
            Ok(Role::Supervisor(code)) => code,
            Err(error) => {
                logging::last_line(&error);
                error.exit_code()
            }
        };
        // What the body holds belongs to the workers: its `Drop` must not act here too.
        mem::forget(body);
        code
    }

    /// Starts the workers and returns in each of them; in the first process it supervises them and returns when none
    /// is left.
    ///
    /// In the first process the signals that a supervisor reads stay blocked when it returns
    /// [`Role::Supervisor`], so that one that arrives late does not change the exit status.
    ///
    /// For a program that does something in the first process when the pool is over, such as removing a pid file, or
    /// that ends with an exit status of its own:
    ///
    /// ```no_run
    /// use prefork_rt::{Error, Prefork, Role};
    ///
    /// fn main() -> Result<(), Error> {
    ///     match Prefork::new().workers(4).start()? {
    ///         Role::Worker(worker) => println!("worker {}", worker.task_id()),
    ///         Role::Supervisor(_) => std::fs::remove_file("/run/app.pid").unwrap_or_default(),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Could not start, and nothing is left running: bad values, `listen`, other threads, a first fork refused. End
    /// with [`Error::exit_code`]: a `main` that returns the error as a `Result` ends with status 1, whatever it is. All
    /// other ends, giving up included, are [`Role::Supervisor`] with an exit status, and are logged.
    #[inline]
    pub fn start(self) -> Result<Role, Error> {
        Ok(match start(self)? {
            Outcome::Worker(worker) => Role::Worker(worker),
            Outcome::Over(Ok(())) => Role::Supervisor(ExitCode::SUCCESS),
            Outcome::Over(Err(error)) => Role::Supervisor(error.exit_code()),
        })
    }
}

/// Tornado's call: starts `workers` workers and returns the task id in each of them.
///
/// `workers` 0 means [`cpu_count`](crate::cpu_count). In the first process it does not return while all goes well: it
/// exits with status 0 when all workers have finished, or were stopped in order. The other options have their
/// defaults, or what the environment says.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     match prefork_rt::fork_processes(4, 100) {
///         Ok(task_id) => println!("worker {task_id}"),
///         Err(error) => {
///             eprintln!("{error}");
///             return error.exit_code();
///         }
///     }
///     ExitCode::SUCCESS
/// }
/// ```
///
/// # Errors
///
/// In the first process only: it could not start, or it gave up, which was logged already; no worker is left then. End
/// with [`Error::exit_code`]: `?` in a `main` that returns a `Result` ends with status 1, bad configuration or not.
pub fn fork_processes(workers: usize, max_restarts: usize) -> Result<usize, Error> {
    match start(Prefork::new().workers(workers).max_restarts(max_restarts))? {
        Outcome::Worker(worker) => Ok(worker.task_id()),
        Outcome::Over(Ok(())) => std::process::exit(0),
        Outcome::Over(Err(error)) => Err(error),
    }
}

static STARTED: AtomicBool = AtomicBool::new(false);

#[inline]
fn start(mut prefork: Prefork) -> Result<Outcome, Error> {
    let inheritance = prefork.inheritance;
    if let Some(error) = prefork.error.take() {
        let error = inheritance.handoff.go_back_or(error);
        tell_failure(service_manager(&prefork).as_ref(), &error);
        return Err(error);
    }
    if identity().is_some() || STARTED.swap(true, Ordering::Relaxed) {
        return Err(Error::AlreadyStarted);
    }
    if let Err(error) = sys::open_standard_descriptors() {
        logging::warn(&format!(
            "standard input, output or error is closed, and /dev/null cannot take its place: {error}; a socket may get what \
             is printed"
        ));
    }
    let manager = service_manager(&prefork);
    // The early signal handlers stay until the start has succeeded or failed.
    let signals = prefork.signals.take();
    let outcome = start_once(prefork, manager.clone());
    match &outcome {
        Ok(Outcome::Worker(worker)) => {
            // The handlers are the supervisor's. Dropping the value here would touch one more page of memory.
            mem::forget(signals);
            after_fork::run(*worker);
        }
        Ok(Outcome::Over(_)) => {
            mem::forget(signals);
            listen::remove_files();
            logging::flush();
        }
        Err(_) => {}
    }
    outcome.map_err(|error| {
        let error = inheritance.handoff.go_back_or(error);
        tell_failure(manager.as_ref(), &error);
        listen::remove_files();
        scoreboard::forget();
        STARTED.store(false, Ordering::Relaxed);
        error
    })
}

/// The service manager to tell of the start. With `PREFORK=off` that is left to the body, and a check tells nothing.
fn service_manager(prefork: &Prefork) -> Option<Address> {
    if prefork.environment.has_mode { None } else { Address::new(&prefork.inheritance.manager) }
}

fn tell_failure(manager: Option<&Address>, error: &Error) {
    if let Some(manager) = manager {
        manager.failed(error);
    }
}

#[inline]
fn start_once(prefork: Prefork, manager: Option<Address>) -> Result<Outcome, Error> {
    // What the preparation held is freed before the first fork: each worker that freed its copy on the way to the body
    // would first copy the pages it lies in.
    let handoff = &prefork.inheritance.handoff;
    match prepare(prefork, manager)? {
        ControlFlow::Continue((rules, service)) => supervise(rules, service, handoff),
        ControlFlow::Break(outcome) => Ok(outcome),
    }
}

/// `Break` means that nothing is left to do.
type Prepared = ControlFlow<Outcome, (Box<Rules>, Box<Service>)>;

/// Does everything before the first fork.
#[inline(never)] // A stack frame that is large makes each worker copy more of it.
fn prepare(prefork: Prefork, manager: Option<Address>) -> Result<Prepared, Error> {
    let inheritance = prefork.inheritance;
    let handoff = &inheritance.handoff;
    let unused = unused_without_workers(&prefork.environment, inheritance);
    let Environment { mode, values, mut warnings, mut variables, .. } = *prefork.environment;
    for name in inheritance.socket_variables() {
        variables.push(name.to_owned());
    }
    warnings.extend(inheritance.warnings());
    let mut settings = Settings::new(values, *prefork.code, &mut warnings);
    let workers = format!("{}: {}", amounts::workers(settings.workers), settings.workers_because);
    match mode {
        Mode::On if handoff.is_there() => logging::info(&format!("taking over to run {workers}")),
        Mode::On => logging::info(&format!("starting {workers}")),
        Mode::Off => {
            logging::info(&format!("PREFORK=off: running as task 0 of 1 in this process, unsupervised{unused}"));
        }
        Mode::Check => logging::info(&format!("PREFORK=check: checking what would start {workers}")),
    }
    if let Some(unused) = inheritance.manager.unused().filter(|_| mode == Mode::Check && !handoff.is_there()) {
        logging::info(&format!("PREFORK=check: a service manager is told nothing, so these are not used: {unused}"));
    }
    for warning in &warnings {
        logging::warn(warning);
    }
    if mode != Mode::Off {
        warn_of_few_restarts(&settings);
    }
    settings.check_paths()?;
    let plan = listen::plan(mem::take(&mut settings.listen), inheritance.sockets()?, settings.reuse_port)?;
    for name in &plan.obsolete {
        inheritance.close_sockets(name);
        if let Some(manager) = &manager {
            manager.remove_stored(name);
        }
    }
    check_needs(&prefork.needs, &plan.labels(), |error| plan.explain(error))?;
    check_memory_can_be_measured(settings.max_memory)?;
    check_this_is_linux("huge_pages", settings.asks_for_huge_pages, "cannot move memory into huge pages")?;
    check_this_is_linux("no_new_privs", settings.no_new_privs, "has no such thing")?;
    let credentials = Credentials::resolve(settings.user_account().as_ref(), settings.group_account().as_ref())?;
    if let Some(credentials) = &credentials {
        logging::info(&credentials.line());
    }
    if let Some(warning) = stays_root(&settings.overruled, credentials.as_ref()) {
        logging::warn(&warning);
    }
    if mode != Mode::Off && !handoff.is_there() {
        warn_of_a_replaceable_binary(&inheritance.launch, credentials.as_ref());
    }
    check_addresses_can_be_shared(settings.reuse_port)?;
    let mut before = bound_before(handoff)?;
    before.extend(plan.restored);
    let slots = settings.reuse_port.then_some(if mode == Mode::Off { 1 } else { slots(settings.workers, handoff) });
    let purpose = match mode {
        Mode::On | Mode::Off => Purpose::Service,
        Mode::Check if handoff.is_there() => Purpose::Rehearsal,
        Mode::Check => Purpose::Check,
    };
    let mut listeners = listen::bind(&plan.places, before, slots, purpose)?;
    listeners.check_mode(|kind| needs_nonblocking(&prefork.needs, kind))?;
    if mode != Mode::Check {
        // It is chosen once, by what the arguments of main are.
        let chosen = listeners.set_nonblocking(&|kind| needs_nonblocking(&prefork.needs, kind));
        chosen.map_err(Error::fcntl)?;
    }
    let attributes = Attributes { no_new_privs: settings.no_new_privs, umask: settings.umask };
    if mode == Mode::Off {
        inheritance.close_all_sockets();
        become_the_only_worker(credentials.as_ref(), &attributes, listeners, &variables)?;
        return Ok(ControlFlow::Break(Outcome::Worker(THE_ONLY_WORKER)));
    }
    // Before signals are blocked: a reader that is stopped must not keep us from ending. And before the check: a logger whose level
    // is "off" is flushed, too, which may open a connection.
    flush_buffers();
    let python = find_python();
    let fork_check = ForkCheck::first(python)?;
    let option = if settings.user.is_some() { "user" } else { "group" };
    let detachment = if credentials.is_some() { Detachment::prepare(option)? } else { None };
    let most_workers = most_workers(settings.workers, handoff)?;
    if mode == Mode::Check {
        handoff.say_rehearsed()?;
        logging::info(&format!(
            "PREFORK=check: all is well{}, nothing was started: exiting with status 0",
            match listeners.in_use {
                0 => String::new(),
                1 => " but for 1 address in use".to_owned(),
                in_use => format!(" but for {in_use} addresses in use"),
            }
        ));
        return Ok(ControlFlow::Break(Outcome::Over(Ok(()))));
    }
    let rules = Rules {
        workers: settings.workers,
        most_workers,
        slots_have_sockets: settings.reuse_port,
        max_restarts: settings.max_restarts,
        restart_window: settings.restart_window,
        restart: settings.restart,
        backoff: settings.backoff,
        graceful_timeout: settings.graceful_timeout,
        drain_delay: settings.drain_delay,
        readiness: readiness(settings.ready_timeout, python.is_some()),
        heartbeat_timeout: settings.heartbeat_timeout,
        max_lifetime: settings.max_lifetime,
        max_memory: settings.max_memory,
        reload: settings.reload,
        reload_width: settings.reload_width,
        // Nothing secret depends on it: where the kernel has no random bytes, the process id will do.
        jitter_seed: sys::entropy().unwrap_or_else(|_| sys::getpid().as_raw().unsigned_abs().into()),
    };
    #[cfg(feature = "hyper_1")]
    crate::worker::grace::set_graceful_timeout(settings.graceful_timeout);
    inheritance.close_all_sockets();
    let manager = manager
        .map(|address| Manager::new(address, &inheritance.manager, settings.graceful_timeout, settings.ready_timeout));
    for name in inheritance.manager.names() {
        variables.push(name.to_owned());
    }
    let mut service = Box::new(Service {
        credentials,
        detachment,
        attributes,
        listeners,
        fork_check,
        python,
        manager,
        variables,
        launch: Cow::Borrowed(&inheritance.launch),
    });
    if !handoff.is_there() {
        service.commit();
    }
    after_fork::prepare();
    if settings.huge_pages {
        huge_pages::collapse_large_memory(settings.asks_for_huge_pages, handoff.cpu_time_before());
    }
    Ok(ControlFlow::Continue((Box::new(rules), service)))
}

/// The options and variables that a process without workers does not use, as the end of a sentence.
fn unused_without_workers(environment: &Environment, inheritance: &Inheritance) -> String {
    let mut unused = String::new();
    let options = environment.unused_without_workers();
    if !options.is_empty() {
        unused += &format!("; not used without workers: {}", options.join(", "));
    }
    if let Some(variables) = inheritance.manager.unused() {
        unused += &format!("; left to main: {variables}");
    }
    unused
}

/// Copies of the sockets that the previous binary has bound.
fn bound_before(handoff: &Handoff) -> Result<Vec<BoundBefore>, Error> {
    let received = handoff.received();
    received.as_ref().map_or(Ok(Vec::new()), |received| received.bound_before())
}

/// How many slots get sockets. A pool that is taken over keeps its number until the new binary has proved itself.
fn slots(workers: usize, handoff: &Handoff) -> usize {
    handoff.received().as_ref().map_or(workers, |received| received.state.pool.size())
}

/// How many workers there can be. The shared memory of a pool that is taken over cannot grow.
fn most_workers(workers: usize, handoff: &Handoff) -> Result<usize, Error> {
    match handoff.received().as_ref().map(|received| received.state.board.capacity) {
        None => Ok(scoreboard::capacity(workers)),
        Some(capacity) if workers <= capacity => Ok(capacity),
        Some(capacity) => Err(Error::Option {
            name: "workers",
            reason: format!(
                "{workers} are more than the {capacity} that the running pool has room for, which was made for fewer: \
                 restart the service instead of upgrading it"
            ),
        }),
    }
}

/// A worker is ready when its body starts, unless `ready_timeout` makes it say so itself. If hooks run before the body, a
/// last hook reports that; without hooks the fork itself is the moment. Python may have hooks of its own.
fn readiness(ready_timeout: Option<Duration>, has_python: bool) -> Readiness {
    match ready_timeout {
        Some(ready_timeout) => Readiness::Announced(ready_timeout),
        None if has_python || after_fork::any() => {
            after_fork::register(|_| scoreboard::ready());
            Readiness::AtBody
        }
        None => Readiness::AtFork,
    }
}

const THE_ONLY_WORKER: Worker = Worker(Identity { task_id: 0, workers: 1, restarts: 0 });

/// `PREFORK=off`: this process runs the body itself.
fn become_the_only_worker(
    credentials: Option<&Credentials>,
    attributes: &Attributes,
    mut listeners: Listeners,
    variables: &[String],
) -> Result<(), Error> {
    if let Some(credentials) = credentials {
        let keys = detachment::leave_keys().map_err(Error::of_call("keyctl(2)"))?;
        credentials.assume()?;
        keys.leave_after_all()?;
    }
    attributes.set().map_err(|(_, error)| Error::of_call("prctl(2)")(error))?;
    Publisher::alone().map_err(Error::of_call("mmap(2)"))?;
    drop(logging::take_descriptor());
    let single_thread = match sys::other_threads() {
        Threads::None(single_thread) => Some(single_thread),
        Threads::Others { .. } | Threads::Unknown(_) => None,
    };
    // They stay where other threads may read the environment.
    if let Some(single_thread) = &single_thread {
        variables.iter().for_each(|variable| sys::remove_variable(variable, single_thread));
    }
    become_worker(THE_ONLY_WORKER, &mut listeners);
    Ok(())
}
