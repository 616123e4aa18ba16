//! The loop of the first process: facts from the system in, policy, its actions out.
//!
//! It must not know why an action was chosen. One rule drives it: facts first, then one action; only when there is
//! neither does it wait. A worker leaves the loop through [`Outcome::Worker`] and never unwinds into it; nothing here
//! has a `Drop` that touches the world outside this process.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::io::{self, IsTerminal, Write};
use std::mem;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::fork_check::ForkCheck;
use crate::policy::{self, Action, Ask, Event, Exit, Policy, ProcId, Rules, Status, Time};
use crate::report;
use crate::sys::{self, Alone, Change, Fork, Mask, Pid, Received, Sent, Signal, SignalQueue};
use crate::worker::{Worker, become_worker};

/// A stop repeated sooner by the leader of our process group is the same one.
const ECHO: Duration = Duration::from_millis(100);

/// How `supervise` ends, in which process.
pub(crate) enum Outcome {
    /// In a worker, ready to run the body.
    Worker(Worker),
    /// In the supervisor, when no worker is left.
    Over(Result<(), Error>),
}

/// What `supervise` needs that the policy does not.
pub(crate) struct Service {
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) fork_check: ForkCheck,
    /// The environment variables that workers do not see.
    pub(crate) variables: Vec<String>,
}

/// Forks the workers and supervises them. An error means that nothing was started.
pub(crate) fn supervise(rules: Rules, service: Service) -> Result<Outcome, Error> {
    // Before signals are blocked: a reader that is stopped must not keep us from ending.
    flush_buffers();
    let mask = Mask::block().map_err(|source| Error::System { call: "sigprocmask(2)", source })?;
    let signals = SignalQueue::open(None).map_err(|source| {
        // The error that is reported is the one that matters.
        let _ = mask.restore();
        Error::System { call: "signalfd(2)", source }
    })?;
    Supervisor {
        pid: sys::getpid(),
        workers: rules.workers,
        policy: Box::new(Policy::new(rules)),
        clock: Clock { origin: Instant::now(), stopped: Duration::ZERO },
        table: Table::default(),
        signals,
        unreaped: true,
        mask,
        stdin_is_terminal: io::stdin().is_terminal(),
        flushed: !report::logger_is_installed(),
        asked: None,
        service,
    }
    .run()
}

struct Supervisor {
    pid: Pid,
    workers: usize,
    policy: Box<Policy>,
    clock: Clock,
    table: Table,
    signals: SignalQueue,
    /// Children may have ended: SIGCHLD came, or strangers ended before it was blocked, which no signal announces.
    unreaped: bool,
    mask: Mask,
    stdin_is_terminal: bool,
    /// Nothing is left in a buffer, and nobody is there to write into one.
    flushed: bool,
    /// The last stop that was asked for, and when.
    asked: Option<(Received, Instant)>,
    service: Service,
}

impl Supervisor {
    fn run(mut self) -> Result<Outcome, Error> {
        loop {
            self.take_facts();
            match self.policy.poll() {
                Some(Action::Fork { proc, restarts }) => {
                    if let Some(alone) = self.fork(proc) {
                        let worker = Worker { task_id: proc.task_id(), workers: self.workers, restarts };
                        self.turn_into(worker, &alone);
                        return Ok(Outcome::Worker(worker));
                    }
                }
                Some(Action::Exit(exit)) => return self.over(exit),
                Some(action) => self.perform(action),
                None => self.wait(),
            }
        }
    }

    /// All signals before any death, so that a stop that comes with its deaths is no crash.
    fn take_facts(&mut self) {
        while self.signals.ready(None, Some(Duration::ZERO)).signals {
            let Some(received) = self.signals.read() else { break };
            match received.signal {
                Signal::SIGCHLD => self.unreaped = true,
                _ => self.take_signal(&received),
            }
        }
        while self.unreaped {
            match sys::reap() {
                Some((pid, change)) => self.take_change(pid, &change),
                None => self.unreaped = false,
            }
        }
        let now = self.clock.now();
        if self.policy.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.policy.handle(now, Event::Tick);
        }
    }

    /// timeout(1) sends its signal twice: to the process that it started, and to its own group, which that is in.
    fn is_echo(&mut self, received: &Received) -> bool {
        let before = self.asked.replace((*received, Instant::now()));
        let by_leader = received.sent == Sent::By(sys::getpgrp().as_raw()) && sys::getpgrp() != self.pid;
        by_leader && before.is_some_and(|(before, when)| before == *received && when.elapsed() < ECHO)
    }

    fn take_signal(&mut self, received: &Received) {
        let ask = match received.signal {
            Signal::SIGTERM | Signal::SIGINT if self.is_echo(received) => return,
            Signal::SIGTERM | Signal::SIGINT => Ask::Stop,
            Signal::SIGQUIT => Ask::StopNow,
            Signal::SIGTSTP => return self.suspend(),
            Signal::SIGCONT => return self.signal_all(Signal::SIGCONT),
            _ => return report::warn(&refusal(received)),
        };
        self.policy.handle(self.clock.now(), Event::Ask(ask, sender(received)));
    }

    fn take_change(&mut self, pid: Pid, change: &Change) {
        // A stranger: made before us, or handed to us as PID 1 or subreaper. It is reaped, and that is all.
        let Some(&proc) = self.table.alive.get(&pid) else { return };
        let status = match *change {
            Change::Exited(code) => Status::Exited(code),
            Change::Killed { signal, dumped_core } => Status::Killed { signal, dumped_core },
            Change::Stopped { signal } => {
                if signal == Signal::SIGTTIN as c_int || signal == Signal::SIGTTOU as c_int {
                    report::stopped_by_terminal(proc.task_id(), pid, signal);
                }
                return;
            }
        };
        self.table.alive.remove(&pid);
        self.policy.handle(self.clock.now(), Event::Ended(proc, status));
    }

    /// Returns in both processes: in the worker with the proof that it has one thread.
    fn fork(&mut self, proc: ProcId) -> Option<Alone> {
        self.flush_what_a_logger_wrote();
        let event = match self.service.fork_check.again().map(sys::fork) {
            Err(why) => Event::ForkUnsafe(proc, why),
            Ok(Err(error)) => Event::ForkFailed(proc, error),
            Ok(Ok(Fork::Child(alone))) => return Some(alone),
            Ok(Ok(Fork::Parent(pid))) => {
                self.table.enter(proc, pid);
                Event::Forked(proc)
            }
        };
        self.policy.handle(self.clock.now(), event);
        None
    }

    /// Once everything was handed on, only a logger can write more: nobody else's code runs between two forks.
    fn flush_what_a_logger_wrote(&mut self) {
        if mem::replace(&mut self.flushed, !report::logger_is_installed()) {
            return;
        }
        flush_buffers();
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Signal(proc, signal) => self.signal(proc, signal),
            Action::CloseListeners => self.service.listeners.clear(),
            Action::Tell(notice) => report::notice(&notice, |proc| self.table.pid(proc)),
            Action::Fork { .. } | Action::Exit(_) => unreachable!("run performs these itself"),
        }
    }

    fn signal(&self, proc: ProcId, signal: policy::Signal) {
        let Some(pid) = self.table.living_pid(proc) else { return };
        let sent = match signal {
            // A stopped worker would not see SIGTERM before it is continued.
            policy::Signal::Terminate => sys::kill(pid, Signal::SIGTERM).and_then(|()| sys::kill(pid, Signal::SIGCONT)),
            policy::Signal::Kill => sys::kill_group(pid, Signal::SIGKILL),
        };
        if let Err(error) = sent {
            report::warn(&format!("cannot signal pid {pid}: {error}"));
        }
    }

    fn signal_all(&self, signal: Signal) {
        for &pid in self.table.alive.keys() {
            if let Err(error) = sys::kill_group(pid, signal) {
                report::warn(&format!("cannot send {signal} to pid {pid}: {error}"));
            }
        }
    }

    /// Stops the pool and itself as the terminal's stop key asks, until it is continued. For the policy, no time
    /// passes in between.
    fn suspend(&mut self) {
        report::info("SIGTSTP: suspended with all workers, until SIGCONT (fg)");
        let before = Instant::now();
        self.signal_all(Signal::SIGSTOP);
        if let Err(error) = sys::suspend() {
            report::warn(&format!("cannot suspend: {error}"));
        }
        self.signal_all(Signal::SIGCONT);
        self.clock.stopped += before.elapsed();
    }

    fn wait(&self) {
        let now = self.clock.now();
        self.signals.ready(None, self.policy.poll_timeout().map(|deadline| deadline.since(now)));
    }

    /// Turns a process just forked from the supervisor's copy into a worker: afterwards it has nothing of ours but
    /// its listeners.
    fn turn_into(self, worker: Worker, alone: &Alone) {
        let Supervisor { pid, signals, mask, stdin_is_terminal, service, policy, table, .. } = self;
        // Before it can make a process of its own: whoever signals the group reaches them all.
        sys::lead_group();
        report::close();
        let tied = sys::die_with(pid);
        let stdin = tied.and_then(|()| if stdin_is_terminal { sys::stdin_to_null() } else { Ok(()) });
        let prepared = stdin.and_then(|()| signals.close()).and_then(|()| mask.restore_in_worker());
        if let Err(error) = prepared {
            report::error(&format!("worker {} cannot be prepared: {error}", worker.task_id));
            sys::end_now(1);
        }
        become_worker(worker, service.listeners, &service.variables, Some(alone));
        // The memory stays shared with the supervisor as long as nobody frees it.
        mem::forget(policy);
        mem::forget(table);
        mem::forget(service.variables);
    }

    fn over(self, exit: Exit) -> Result<Outcome, Error> {
        let error = match exit {
            Exit::Finished => {
                report::info(&format!("{} finished: exiting with status 0", all(self.workers)));
                return Ok(Outcome::Over(Ok(())));
            }
            Exit::Stopped { by, killed } => {
                let killed = if killed == 0 { String::new() } else { format!("; {killed} had to be killed") };
                report::info(&format!("stopped by {by}{killed}: exiting with status 0"));
                return Ok(Outcome::Over(Ok(())));
            }
            Exit::CannotFork(source) => {
                // Nothing that was started is left: the caller may go on as before.
                let _ = self.signals.close().and_then(|()| self.mask.restore());
                return Err(Error::Fork { source });
            }
            Exit::GaveUp { task_id, max_restarts } => Error::GaveUp { max_restarts, task_id },
            Exit::Unsafe(reason) => Error::BecameUnsafeToFork { reason },
            Exit::Unkillable(procs) => {
                let pids = procs.into_iter().filter_map(|proc| self.table.pid(proc)).map(Pid::as_raw).collect();
                Error::Unkillable { pids }
            }
        };
        report::last_line(&error);
        Ok(Outcome::Over(Err(error)))
    }
}

/// What was written but not handed on would be copied by a fork, and appear twice.
fn flush_buffers() {
    // First, because it may print.
    report::flush();
    // A closed standard output loses its text with or without a fork; one that is full for now does not.
    while io::stdout().flush().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        sys::wait_for_stdout();
    }
    sys::flush_c_stdio();
}

/// "SIGTERM from pid 4711".
fn sender(received: &Received) -> String {
    match received.sent {
        Sent::By(0) => format!("{} from outside this container", received.signal),
        Sent::By(pid) => format!("{} from pid {pid}", received.signal),
        Sent::ByKernel => format!("{} from the terminal", received.signal),
    }
}

fn refusal(received: &Received) -> String {
    let does = match received.signal {
        Signal::SIGHUP => "does not reload",
        Signal::SIGUSR1 => "does not pass it on to workers",
        Signal::SIGUSR2 => "does not upgrade in place",
        Signal::SIGTTIN | Signal::SIGTTOU => "does not change the number of workers while it runs",
        _ => "does not use it",
    };
    format!("{} is ignored: this version {does}; SIGTERM stops", sender(received))
}

fn all(workers: usize) -> String {
    match workers {
        1 => "the worker has".to_owned(),
        _ => format!("all {workers} workers have"),
    }
}

/// Monotonic time since the start, less what was spent suspended.
struct Clock {
    origin: Instant,
    stopped: Duration,
}

impl Clock {
    fn now(&self) -> Time {
        Time(self.origin.elapsed().saturating_sub(self.stopped))
    }
}

/// Which process is which worker's, both ways.
#[derive(Default)]
struct Table {
    /// The living. Not a hash map: all workers' hash maps would share its keys.
    alive: BTreeMap<Pid, ProcId>,
    /// The last process of each task id, still to be named in a line when it is gone.
    latest: Vec<Option<(ProcId, Pid)>>,
}

impl Table {
    fn enter(&mut self, proc: ProcId, pid: Pid) {
        self.alive.insert(pid, proc);
        self.latest.resize(self.latest.len().max(proc.task_id() + 1), None);
        self.latest[proc.task_id()] = Some((proc, pid));
    }

    /// The process id that it has, or had until its task id got another process.
    fn pid(&self, proc: ProcId) -> Option<Pid> {
        let &(latest, pid) = self.latest.get(proc.task_id())?.as_ref()?;
        (latest == proc).then_some(pid)
    }

    /// The process id while nobody else can have it: a worker may have been reaped since a signal to it was chosen.
    fn living_pid(&self, proc: ProcId) -> Option<Pid> {
        self.pid(proc).filter(|pid| self.alive.get(pid) == Some(&proc))
    }
}
