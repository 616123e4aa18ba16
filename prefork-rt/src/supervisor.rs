//! The loop of the first process: facts from the system in, policy, its actions out.
//!
//! It must not know why an action was chosen. One rule drives it: facts first, then one action, or signals that follow one
//! another; only when there is neither does it wait. A worker leaves the loop through [`Outcome::Worker`] and never unwinds
//! into it; nothing here has a `Drop` that touches the world outside this process.

pub(crate) mod attributes;
pub(crate) mod connections;
pub(crate) mod credentials;
pub(crate) mod detachment;
mod exit;
pub(crate) mod fork_check;
mod names;
mod newcomer;
mod oom;
mod reap;
mod signals;
mod succession;
mod table;
mod unreaped;
mod variables;

use std::borrow::Cow;
use std::ffi::{OsString, c_int};
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::identity::Identity;
use crate::listen::{self, Listeners, Moment, Repair};
use crate::logging;
use crate::notify::{self, Manager};
use crate::policy::{self, Action, Ask, Event, Exit, Hold, Notice, Policy, ProcId, Rules, Time};
use crate::report;
use crate::scoreboard::{Publisher, Row};
use crate::sys::{
    self, End, Interpreter, Mask, Pid, Ready, Received, Sent, Signal, SignalQueue, Uncopied, UncopiedBox, UncopiedVec,
    Unfreed, WakePipe,
};
use crate::upgrade::{Handoff, Launch, Next, Previous, Rehearsal};
use crate::worker::Worker;
use attributes::Attributes;
use credentials::Credentials;
use detachment::Detachment;
use fork_check::ForkCheck;
use newcomer::{Newcomer, turn_into};
use oom::OomKills;
use signals::Heard;
pub(crate) use signals::SIGNALS;
use table::Table;
use unreaped::Unreaped;

pub(crate) use newcomer::{become_worker, flush_buffers};

/// How often signals are read before other work: a process that sends signals endlessly must not keep the supervisor from
/// its work.
const MOST_READS: usize = 32;

/// How `supervise` ends, in which process.
pub(crate) enum Outcome {
    /// In a worker, ready to run the body.
    Worker(Worker),
    /// In the supervisor, when no worker is left.
    Over(Result<(), Error>),
}

/// What `supervise` needs that the policy does not.
pub(crate) struct Service {
    /// The user and group that the workers become.
    pub(crate) credentials: Option<Credentials>,
    /// What workers of another user leave behind besides the user.
    pub(crate) detachment: Option<Detachment>,
    /// What each worker sets of its own process.
    pub(crate) attributes: Attributes,
    pub(crate) listeners: Listeners,
    pub(crate) fork_check: ForkCheck,
    /// The interpreter of this process, which takes part in each fork.
    pub(crate) python: Option<Interpreter>,
    /// The service manager, which is told what happens.
    pub(crate) manager: Option<Manager>,
    /// The names of the environment variables that workers do not see. Empty from the first fork on: see
    /// [`hidden`](Supervisor::hidden).
    pub(crate) variables: Vec<String>,
    /// How this program was started.
    pub(crate) launch: Cow<'static, Launch>,
}

impl Service {
    /// This binary stays: the service manager stores what it listens on, and nothing else.
    pub(crate) fn commit(&mut self) {
        self.settle();
        self.listeners.forget_before();
    }

    fn settle(&mut self) {
        let room = self.manager.as_ref().and_then(Manager::most_stored);
        if let (Some(manager), Some(room)) = (&mut self.manager, room) {
            listen::update_store(&mut self.listeners, room, &mut |change| match change {
                listen::Change::Remove(name) => manager.remove_stored(name),
                listen::Change::Store(name, kind, socket) => manager.store(name, kind, socket),
            });
        }
    }
}

/// Forks the workers and supervises them. An error means that nothing was started.
///
/// A worker leaves through here with what lies on the stack. Each page of memory that it writes to, and each page of code that
/// it enters, costs it a fault: so the supervisor is in a box, what only the supervisor calls is not inlined, and a worker frees
/// nothing that is the supervisor's. What the supervisor writes for each fork is in memory that a fork does not copy, and its
/// box is written to only for what happens seldom.
#[inline] // In the code of the program: each page of code that a new worker enters costs it a fault.
pub(crate) fn supervise(rules: Box<Rules>, service: Box<Service>, handoff: &Handoff) -> Result<Outcome, Error> {
    let mut supervisor = Unfreed::new(Supervisor::set_up(rules, service, handoff)?);
    match supervisor.run() {
        Left::AsWorker(newcomer) => Ok(Outcome::Worker(turn_into(supervisor, newcomer))),
        Left::AtTheEnd(exit) => over(supervisor, exit),
    }
}

#[inline(never)] // A stack frame that is large makes each worker copy more of it.
fn over(supervisor: Unfreed<Supervisor>, exit: Exit) -> Result<Outcome, Error> {
    supervisor.take().over(exit)
}

/// How the loop is left, in which process.
enum Left {
    /// In a process forked just now.
    AsWorker(Newcomer),
    /// In the supervisor, when no worker is left.
    AtTheEnd(Exit),
}

/// What the loop leaves to [`run`](Supervisor::run).
enum Due {
    Fork(ProcId, Worker),
    Exit(Exit),
}

struct Supervisor {
    pid: Pid,
    /// What this process was called before.
    name: String,
    policy: UncopiedBox<Policy>,
    clock: Clock,
    table: UncopiedBox<Table>,
    publisher: Publisher,
    wake_pipe: WakePipe,
    signals: SignalQueue,
    unreaped: UncopiedBox<Unreaped>,
    mask: Box<Mask>,
    heard: Heard,
    oom_kills: OomKills,
    /// No line has reported yet that memory cannot be measured.
    measures: bool,
    /// The environment variables that workers do not see, and their values.
    hidden: Vec<(String, OsString)>,
    /// Workers that were reaped, of which the policy does not know yet.
    ends: UncopiedBox<UncopiedVec<(ProcId, End)>>,
    /// Workers that have ended, with their process ids, and may have spoiled a listener.
    ended: UncopiedBox<UncopiedVec<(usize, i32)>>,
    /// A signal to pass on to every worker.
    to_pass_on: UncopiedBox<Option<Received>>,
    rehearsal: Option<Box<Rehearsal>>,
    /// The binary that was rehearsed.
    next: Option<Next>,
    /// The binary that ran here before, while this one is on probation.
    before: Option<Previous>,
    service: Box<Service>,
}

impl Supervisor {
    #[inline(never)] // A stack frame that is large makes each worker copy more of it.
    fn set_up(rules: Box<Rules>, service: Box<Service>, handoff: &Handoff) -> Result<Box<Supervisor>, Error> {
        // Before signals are blocked, as `start` flushes the other buffers: a reader that is stopped must not keep us from ending.
        if let Some(python) = service.python {
            python.flush();
        }
        let memory = Uncopied::default();
        let received = handoff.received();
        let pool = match received.as_ref() {
            Some(received) => Pool::adopt(*rules, received, &memory).map_err(Error::of_call("taking over the pool"))?,
            None => Pool::new(*rules, &memory).map_err(Error::of_call("mmap(2)"))?,
        };
        drop(received);
        let heard = Heard::new();
        let (mask, queued) = Mask::block().map_err(Error::of_call("sigprocmask(2)"))?;
        let signals = SignalQueue::open(&queued, Some(pool.wake_pipe.as_fd())).map_err(|source| {
            // The error that is reported is the one that matters.
            let _ = mask.restore();
            Error::of_call("signalfd(2)")(source)
        })?;
        let name = sys::process_name();
        let Pool { policy, clock, publisher, wake_pipe } = pool;
        let size = policy.size();
        let mut supervisor = Box::new(Supervisor {
            pid: sys::getpid(),
            name,
            table: memory.boxed(Table::for_workers(size, &memory)),
            policy: memory.boxed(policy),
            clock,
            publisher,
            wake_pipe,
            signals,
            unreaped: memory.boxed(Unreaped::any(Instant::now())),
            mask: Box::new(mask),
            heard,
            oom_kills: OomKills::read(&memory),
            measures: true,
            hidden: Vec::new(),
            ends: memory.boxed(memory.vec(size)),
            ended: memory.boxed(memory.vec(size)),
            to_pass_on: memory.boxed(None),
            rehearsal: None,
            next: None,
            before: None,
            service,
        });
        if let Some(received) = handoff.take() {
            supervisor.take_over(received);
        }
        supervisor.inspect_listeners(Moment::Start);
        names::supervisor(&supervisor.name).set();
        if !logging::logger_is_installed() && supervisor.service.python.is_none() {
            // No code of the program's has run since the last check.
            supervisor.service.fork_check.expect_own_descriptors();
        }
        Ok(supervisor)
    }

    /// Forks until it is in a worker or at the end.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    fn run(&mut self) -> Left {
        loop {
            match self.work() {
                Due::Fork(proc, worker) => {
                    if let Some(newcomer) = self.fork(proc, worker) {
                        return Left::AsWorker(newcomer);
                    }
                }
                Due::Exit(exit) => return Left::AtTheEnd(exit),
            }
        }
    }

    /// Does everything until a fork is due, or the end.
    #[inline(never)] // A stack frame that is large makes each worker copy more of it.
    fn work(&mut self) -> Due {
        let mut waited = None;
        loop {
            self.take_facts(waited.take());
            self.publish();
            // Facts bring lines, so that there would be more and more of them if each waited for the next facts.
            while let Some(notice) = self.policy.take_notice() {
                self.tell(&notice);
            }
            let action = self.policy.poll();
            self.publish();
            self.inform(action.is_none());
            match action {
                Some(Action::Fork { proc, restarts, workers }) => {
                    return Due::Fork(proc, Worker(Identity { task_id: proc.task_id(), workers, restarts }));
                }
                Some(Action::Exit(exit)) => return Due::Exit(exit),
                Some(action) => self.perform(action),
                None => {
                    // Once for all that has changed.
                    self.service.listeners.steer();
                    waited = Some(self.wait());
                }
            }
        }
    }

    /// All signals before any death, so that a stop that comes with its deaths is no crash. `waited` is what a wait has found
    /// just now.
    #[inline(never)] // A stack frame that is large makes each worker copy more of it.
    fn take_facts(&mut self, mut waited: Option<Ready>) {
        for nth in 0.. {
            if nth == MOST_READS {
                // A signal that is sent endlessly may hide SIGCHLD, and a stop.
                self.unreaped.note(None);
                if let Some(stop) = self.signals.read_stop() {
                    self.take_signal(&stop);
                }
                break;
            }
            let ready = waited.take().unwrap_or_else(|| self.signals.ready(self.others(), Some(Duration::ZERO)));
            if ready.other {
                self.answer_wakes();
                self.rehearsal.iter_mut().for_each(|rehearsal| rehearsal.read_output());
            }
            if !ready.signals {
                break;
            }
            let received = self.signals.read();
            for received in received.iter().flatten() {
                match *received {
                    Received { sent: Sent::ForChild(pid), .. } => self.unreaped.note(Some(Pid::from_raw(pid))),
                    Received { signal, .. } if signal == Signal::SIGCHLD as c_int => self.unreaped.note(None),
                    _ => self.take_signal(received),
                }
            }
            if received.last().is_some_and(Option::is_none) {
                // No other waits.
                break;
            }
        }
        // Last, as it takes long: the lowest signal is read first, so one that came again meanwhile would hide others.
        if let Some(received) = self.to_pass_on.take() {
            self.pass_on(&received);
        }
        self.look_for_the_shell();
        self.take_news();
        let now = self.clock.now();
        if self.policy.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.policy.handle(now, Event::Tick);
        }
    }

    /// The descriptors that are waited for besides signals.
    fn others(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let output = self.rehearsal.as_ref().and_then(|rehearsal| rehearsal.output());
        let wake_pipe = self.wake_pipe.rest().is_none().then(|| self.wake_pipe.as_fd());
        wake_pipe.into_iter().chain(output)
    }

    /// Reads the reports of the workers that have woken the supervisor, or of all workers.
    #[inline(never)] // It has a large buffer on the stack, which `take_facts` would have for each fork.
    fn answer_wakes(&mut self) {
        if self.wake_pipe.rest().is_some() {
            return;
        }
        let wakes = self.wake_pipe.read();
        // An unknown task id shows that a worker wrote something else, which may have mixed with the writes of others.
        let is_garbage = wakes.numbers.iter().any(|&task_id| !self.table.knows(task_id as usize));
        let are_many = || wakes.numbers.len() > self.table.alive().count();
        let mut procs: Vec<ProcId> = Vec::new();
        if wakes.overflow || is_garbage || are_many() {
            procs.extend(self.table.alive().map(|(_, proc)| proc));
        } else {
            for &task_id in &wakes.numbers {
                procs.extend(self.table.alive_of(task_id as usize));
            }
        }
        for proc in procs {
            self.read_report(proc);
        }
    }

    /// Reads what a worker has reported so far, and tells the policy.
    fn read_report(&mut self, proc: ProcId) {
        let Some(occupant) = self.table.occupant(proc) else { return };
        let reported = self.publisher.board().read_report(proc.task_id(), &occupant);
        self.policy.handle(self.clock.now(), Event::Reported(proc, reported));
    }

    /// Repairs listeners: what one process does to a socket holds for all that have it.
    fn inspect_listeners(&mut self, moment: Moment<'_>) {
        let repairs = self.service.listeners.inspect(moment);
        self.tell_repairs(repairs);
    }

    fn tell_repairs(&mut self, repairs: Vec<Repair>) {
        let (mut anew, mut outdated) = (false, false);
        for repair in repairs {
            logging::warn(&repair.line);
            if let (Some(name), Some(manager)) = (&repair.stored, &mut self.service.manager) {
                manager.remove_stored(name);
                outdated = true;
            }
            anew |= repair.leaves_workers_behind;
        }
        if outdated && self.before.is_none() {
            self.service.settle();
        }
        if anew {
            self.policy.handle(self.clock.now(), Event::Ask(Ask::Reload, "a listener was bound anew".to_owned()));
        }
    }

    #[inline(never)] // A stack frame that is large makes each worker copy more of it.
    fn perform(&mut self, action: Action) {
        match action {
            Action::Signal(proc, signal) => self.signal_run(proc, signal),
            Action::ReadReport(proc) => self.read_report(proc),
            Action::Inspect(proc) => self.inspect(proc),
            Action::Measure(proc) => self.measure(proc),
            Action::CloseListeners => self.service.listeners.close(),
            Action::SetIntake(task_id, intake) => self.service.listeners.set_intake(task_id, intake),
            Action::OpenSockets(task_id) => {
                let event = match self.service.listeners.open(task_id) {
                    Ok(()) => Event::SocketsOpen(task_id),
                    Err(error) => Event::SocketsRefused(task_id, error),
                };
                self.policy.handle(self.clock.now(), event);
            }
            Action::InspectQueue(task_id) => {
                let waiting = self.service.listeners.has_waiting(task_id);
                self.policy.handle(self.clock.now(), Event::Queue { task_id, waiting });
            }
            Action::CloseSockets(task_id) => self.service.listeners.close_slot(task_id),
            Action::Tell(notice) => self.tell(&notice),
            Action::Rehearse => self.rehearse(),
            Action::EndRehearsal => self.end_rehearsal(),
            Action::Commit => self.forget_before(),
            Action::Upgrade => self.upgrade(),
            Action::GoBack { task_id, why } => self.go_back(task_id, &why),
            Action::Fork { .. } | Action::Exit(_) => unreachable!("work leaves these to run"),
        }
    }

    /// Sends this signal, and those that follow it: a stop signals all workers, and to look for facts before each would find the
    /// end of the one before.
    fn signal_run(&mut self, proc: ProcId, signal: policy::Signal) {
        self.signal(proc, signal);
        while let Some((proc, signal)) = self.policy.take_signal() {
            self.signal(proc, signal);
        }
    }

    fn signal(&mut self, proc: ProcId, signal: policy::Signal) {
        let Some(pid) = self.table.living_pid(proc) else { return };
        match signal {
            // A stopped worker does not see SIGTERM until it is continued.
            policy::Signal::Terminate => {
                self.send(pid, Signal::SIGTERM, sys::kill);
                self.send(pid, Signal::SIGCONT, sys::kill);
            }
            policy::Signal::Abort => self.send(pid, Signal::SIGABRT, sys::kill),
            policy::Signal::Kill => {
                self.table.note_kill(proc);
                self.send(pid, Signal::SIGKILL, sys::kill_group);
            }
        }
    }

    fn signal_all(&self, signal: Signal) {
        for (pid, _) in self.table.alive() {
            self.send(pid, signal, sys::kill_group);
        }
    }

    fn send(&self, pid: Pid, signal: Signal, send: fn(Pid, Signal) -> io::Result<()>) {
        if let Err(error) = send(pid, signal) {
            logging::warn(&format!("cannot send {signal} to pid {pid}: {error}"));
        }
    }

    fn inspect(&mut self, proc: ProcId) {
        let pid = self.table.living_pid(proc);
        // Where the system does not tell, the worker counts as held by nothing.
        let hold = match pid.and_then(|pid| sys::hold(pid).ok()) {
            Some(sys::Hold::Debugger(by)) => Hold::Debugger(by),
            Some(sys::Hold::CoreDump) => Hold::CoreDump,
            Some(sys::Hold::Nothing) | None => Hold::Nothing,
        };
        self.policy.handle(self.clock.now(), Event::Inspected(proc, hold));
    }

    fn measure(&mut self, proc: ProcId) {
        let Some(pid) = self.table.living_pid(proc) else { return };
        match sys::private_memory(pid) {
            Ok(bytes) => self.policy.handle(self.clock.now(), Event::Measured(proc, bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if mem::take(&mut self.measures) => logging::warn(&format!(
                "cannot measure the memory of worker {} (pid {pid}): {error}; max_memory does not apply to it; to \
                 measure a worker that has changed its user, start this program as root with CAP_SYS_PTRACE",
                proc.task_id()
            )),
            Err(_) => {}
        }
    }

    /// Publishes what has changed, for every process that looks at the pool.
    fn publish(&mut self) {
        let mut changed = false;
        while let Some((task_id, view)) = self.policy.take_changed() {
            let occupant = view.proc.and_then(|proc| self.table.occupant(proc));
            self.publisher.publish(task_id, Row { state: view.state, proc: occupant, restarts: view.restarts });
            changed = true;
        }
        if changed {
            self.publisher.set_totals(self.policy.size(), self.policy.restarts());
        }
    }

    fn tell(&mut self, notice: &Notice) {
        report::notice(notice, |proc| self.table.pid(proc), &mut |line| {
            if let Some(manager) = &mut self.service.manager {
                manager.tell(notice, &line.to_string(), ready(&self.policy));
            }
        });
    }

    /// Tells a service manager the status of the pool, before a wait, and that this process is alive.
    fn inform(&mut self, waits: bool) {
        let Some(manager) = &mut self.service.manager else { return };
        if waits {
            manager.update(ready(&self.policy));
        }
        manager.heartbeat(|| self.policy.has_prospects());
    }

    fn wait(&self) -> Ready {
        let now = self.clock.now();
        let mut timeout = self.policy.poll_timeout().map(|deadline| deadline.since(now));
        let mut at_most = |other: Duration| timeout = Some(timeout.unwrap_or(other).min(other));
        let next_turn = self.service.manager.as_ref().and_then(Manager::next_turn);
        for &instant in [next_turn, self.next_look(), self.wake_pipe.rest(), self.unreaped.next_look()].iter().flatten()
        {
            at_most(instant.saturating_duration_since(Instant::now()));
        }
        self.signals.ready(self.others(), timeout)
    }
}

fn ready(policy: &Policy) -> notify::Pool {
    notify::Pool { ready: policy.ready(), workers: policy.size() }
}

/// The pool that a supervisor begins with: a new one, or that of the previous binary.
struct Pool {
    policy: Policy,
    clock: Clock,
    publisher: Publisher,
    wake_pipe: WakePipe,
}

impl Pool {
    fn new(rules: Rules, memory: &Uncopied) -> io::Result<Pool> {
        let publisher = Publisher::new(rules.workers)?;
        let clock = Clock { origin: Instant::now(), stopped: Duration::ZERO };
        Ok(Pool { policy: Policy::new(rules, memory), clock, publisher, wake_pipe: WakePipe::new()? })
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
