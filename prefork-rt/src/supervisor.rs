//! The loop of the first process: facts from the system in, policy, its actions out.
//!
//! It must not know why an action was chosen. One rule drives it: facts first, then one action; only when there is
//! neither does it wait. A worker leaves the loop through [`Outcome::Worker`] and never unwinds into it; nothing here
//! has a `Drop` that touches the world outside this process.

pub(crate) mod connections;
pub(crate) mod credentials;
pub(crate) mod detachment;
pub(crate) mod fork_check;
mod oom;
mod signals;
mod succession;
mod table;

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::identity::{self, Worker};
use crate::listen::{self, Listeners, Moment};
use crate::logging;
use crate::notify::{self, Manager};
use crate::policy::{
    self, Action, Ask, Event, Exit, GiveUp, Hold, Killer, Notice, Policy, ProcId, Rules, Spent, Status, Time,
};
use crate::report;
use crate::scoreboard::{Occupant, Publisher, Row};
use crate::sys::{
    self, Alone, Bell, End, Fork, Mask, Member, News, Pid, ProcessName, Received, Rest, Signal, SignalQueue,
};
use crate::upgrade::{self, Before, Launch, Next, Rehearsal};
use crate::wording;
use crate::worker::tie;
use credentials::Credentials;
use detachment::{Detachment, Keys};
use fork_check::ForkCheck;
use oom::OomKills;
use signals::Heard;
use table::Table;

/// Who sends signals on and on must not keep the supervisor from its work.
const MOST_SIGNALS: usize = 64;
/// Until a child is asked for once more of which the system did not tell.
const REAP_AGAIN: Duration = Duration::from_millis(100);

/// How `supervise` ends, in which process.
pub(crate) enum Outcome {
    /// In a worker, ready to run the body.
    Worker(Worker),
    /// In the supervisor, when no worker is left.
    Over(Result<(), Error>),
}

/// What `supervise` needs that the policy does not.
pub(crate) struct Service {
    /// Who the workers become.
    pub(crate) credentials: Option<Credentials>,
    /// What workers of another user leave behind besides.
    pub(crate) detachment: Option<Detachment>,
    /// Workers gain no rights by what they execute.
    pub(crate) no_new_privs: bool,
    pub(crate) listeners: Listeners,
    pub(crate) fork_check: ForkCheck,
    /// Who else is told what happens.
    pub(crate) manager: Option<Manager>,
    /// The environment variables that workers do not see.
    pub(crate) variables: Vec<String>,
    /// How this program was started.
    pub(crate) launch: Launch,
}

impl Service {
    /// This binary stays: the service manager stores what it listens on, and nothing else.
    pub(crate) fn believe(&mut self) {
        self.settle();
        self.listeners.forget_before();
    }

    fn settle(&mut self) {
        if let (Some(manager), Some(room)) = (&mut self.manager, notify::most_stored()) {
            listen::update_store(&mut self.listeners, room, |change| match change {
                listen::Change::Remove(name) => manager.remove_stored(name),
                listen::Change::Store(name, kind, socket) => manager.store(name, kind, socket),
            });
        }
    }
}

/// Forks the workers and supervises them. An error means that nothing was started.
pub(crate) fn supervise(rules: Rules, service: Service) -> Result<Outcome, Error> {
    // Before signals are blocked: a reader that is stopped must not keep us from ending.
    flush_buffers();
    let received = upgrade::received();
    let pool = match received.as_ref() {
        Some(received) => Pool::adopt(rules, received).map_err(Error::of_call("taking over the pool"))?,
        None => Pool::new(rules).map_err(Error::of_call("mmap(2)"))?,
    };
    drop(received);
    let heard = Heard::new();
    let mask = Mask::block().map_err(Error::of_call("sigprocmask(2)"))?;
    let signals = SignalQueue::open(Some(pool.bell.as_fd())).map_err(|source| {
        // The error that is reported is the one that matters.
        let _ = mask.restore();
        Error::of_call("signalfd(2)")(source)
    })?;
    let name = sys::process_name();
    let Pool { policy, clock, publisher, board_file, bell } = pool;
    let mut supervisor = Supervisor {
        pid: sys::getpid(),
        name,
        policy: Box::new(policy),
        clock,
        table: Table::default(),
        publisher,
        board_file,
        bell,
        signals,
        unreaped: true,
        mask,
        heard,
        flushed: !logging::logger_is_installed(),
        oom_kills: OomKills::read(),
        weighs: true,
        ended: Vec::new(),
        to_pass_on: None,
        rehearsal: None,
        next: None,
        before: None,
        service,
    };
    let received = upgrade::received().take();
    if let Some(received) = received {
        supervisor.take_over(received);
    }
    supervisor.inspect_listeners(Moment::Start);
    sys::supervisor_name(&supervisor.name).set();
    supervisor.run()
}

struct Supervisor {
    pid: Pid,
    /// What this process was called before.
    name: String,
    policy: Box<Policy>,
    clock: Clock,
    table: Table,
    publisher: Publisher,
    /// Its memory, for the next binary.
    board_file: Option<File>,
    bell: Bell,
    signals: SignalQueue,
    /// Children may have ended: SIGCHLD came, or strangers ended before it was blocked, which no signal announces.
    unreaped: bool,
    mask: Mask,
    heard: Heard,
    /// Nothing is left in a buffer, and nobody is there to write into one.
    flushed: bool,
    oom_kills: OomKills,
    /// That memory cannot be measured was not said yet.
    weighs: bool,
    /// Workers that have ended, with their process ids, and may have spoiled a listener.
    ended: Vec<(usize, i32)>,
    /// To every worker.
    to_pass_on: Option<Received>,
    rehearsal: Option<Rehearsal>,
    /// What was rehearsed.
    next: Option<Next>,
    /// What ran here before, as long as this binary is on probation.
    before: Option<Before>,
    service: Service,
}

/// What a worker is to know of itself, found out before the fork: each page of code that a new worker enters, and each
/// page of memory that it writes to, costs it a fault.
struct Newcomer {
    fork: u64,
    seat: usize,
    /// Since the scoreboard was made.
    started: Duration,
    name: ProcessName,
}

impl Newcomer {
    fn occupant(&self, pid: Pid) -> Occupant {
        Occupant { pid: pid.as_raw(), fork: self.fork, seat: self.seat, started: self.started }
    }
}

impl Supervisor {
    fn run(mut self) -> Result<Outcome, Error> {
        loop {
            self.take_facts();
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
                    let worker = Worker { task_id: proc.task_id(), workers, restarts };
                    let newcomer = self.expect(proc);
                    if let Some(alone) = self.fork(proc, &newcomer) {
                        self.turn_into(worker, &newcomer, &alone);
                        return Ok(Outcome::Worker(worker));
                    }
                }
                Some(Action::Exit(exit)) => return self.over(exit),
                Some(Action::Upgrade) => self.upgrade(),
                Some(Action::GoBack { task_id, why }) => self.go_back(task_id, &why),
                Some(action) => self.perform(action),
                None => {
                    // Once for all that has changed.
                    self.service.listeners.steer();
                    self.wait();
                }
            }
        }
    }

    /// All signals before any death, so that a stop that comes with its deaths is no crash.
    fn take_facts(&mut self) {
        for nth in 0.. {
            if nth == MOST_SIGNALS {
                // One that is sent on and on may hide SIGCHLD, and a stop.
                self.unreaped = true;
                if let Some(stop) = self.signals.read_stop() {
                    self.take_signal(&stop);
                }
                break;
            }
            let ready = self.signals.ready(self.others(), Some(Duration::ZERO));
            if ready.other {
                self.answer_bell();
                self.rehearsal.iter_mut().for_each(Rehearsal::read_output);
            }
            let received = if ready.signals { self.signals.read() } else { None };
            match received {
                Some(received) if received.signal == Signal::SIGCHLD as c_int => self.unreaped = true,
                Some(received) => self.take_signal(&received),
                None => break,
            }
        }
        // Only now, as it takes long: the lowest signal is read first, and one that comes again meanwhile hides others.
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

    /// What is waited for besides signals.
    fn others(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let output = self.rehearsal.as_ref().and_then(Rehearsal::output);
        let bell = self.bell.rest().is_none().then(|| self.bell.as_fd());
        bell.into_iter().chain(output)
    }

    /// Listens to who has rung, or to everybody.
    fn answer_bell(&mut self) {
        if self.bell.rest().is_some() {
            return;
        }
        let heard = self.bell.heard();
        // Who is not known has garbled the rings of others, perhaps.
        let garbled = heard.task_ids.iter().any(|&task_id| !self.table.knows(task_id as usize));
        let are_many = || heard.task_ids.len() > self.table.alive().count();
        let procs: Vec<ProcId> = if heard.overflow || garbled || are_many() {
            self.table.alive().map(|(_, proc)| proc).collect()
        } else {
            heard.task_ids.iter().flat_map(|&task_id| self.table.alive_of(task_id as usize)).collect()
        };
        for proc in procs {
            self.hear(proc);
        }
    }

    /// Takes in what a worker has said of itself so far.
    fn hear(&mut self, proc: ProcId) {
        let Some(occupant) = self.table.occupant(proc) else { return };
        let reported = self.publisher.board().hear(proc.task_id(), &occupant);
        self.policy.handle(self.clock.now(), Event::Reported(proc, reported));
    }

    /// Hears of every child that has ended or stopped.
    fn take_news(&mut self) {
        let mut left = Vec::new();
        while self.unreaped {
            let taken = match sys::next_news() {
                Ok(Some(News::Ended(pid))) => self.bury(pid).map(|leftovers| left.extend(leftovers)),
                Ok(Some(News::Stopped(pid))) => self.take_stop(pid),
                Ok(None) => {
                    self.unreaped = false;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if taken.is_err() {
                // No signal comes again for this child: `wait` does not wait long.
                break;
            }
        }
        tell_leftovers(&left);
        let ended = mem::take(&mut self.ended);
        if !ended.is_empty() {
            self.inspect_listeners(Moment::Ends(&ended));
        }
    }

    /// Repairs listeners: what one process does to a socket holds for all that have it.
    fn inspect_listeners(&mut self, moment: Moment<'_>) {
        let (mut anew, mut outdated) = (false, false);
        for repair in self.service.listeners.inspect(moment) {
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

    /// Reaps a child that has ended. What is left of the process group of a worker or a rehearsal is killed before, as long
    /// as the group's id can be no other's.
    fn bury(&mut self, pid: Pid) -> io::Result<Option<Leftovers>> {
        let proc = self.table.proc(pid);
        let rehearsal = self.rehearsal.as_ref().is_some_and(|rehearsal| rehearsal.pid == pid);
        if proc.is_none() && !rehearsal {
            // A stranger: made before us, or handed to us as PID 1 or subreaper. It is reaped, and that is all: its group
            // may be a daemon's.
            return reap(pid).map(|_| None);
        }
        sys::kill_rest(pid);
        let end = reap(pid)?;
        let rest = self.rest_of(pid);
        match proc {
            Some(proc) => self.take_end(proc, pid, &end),
            None => {
                if let Some(rehearsal) = self.rehearsal.take() {
                    self.judge(rehearsal, &end);
                }
            }
        }
        Ok((rest != Rest::Nothing).then_some(Leftovers { task_id: proc.map(ProcId::task_id), leader: pid, rest }))
    }

    /// What is left of the group of a child that was reaped, but for processes that had ended before it was killed.
    fn rest_of(&self, leader: Pid) -> Rest {
        let mut rest = sys::rest_of(leader);
        let mut were_killed = false;
        // As PID 1 or subreaper, this process inherits them.
        while rest == Rest::Ours {
            let stranger = sys::next_ended_in(leader).ok().flatten().filter(|&pid| self.table.proc(pid).is_none());
            let Some(end) = stranger.and_then(|pid| reap(pid).ok()) else { break };
            were_killed |= matches!(end, End::Killed { signal, .. } if signal == Signal::SIGKILL as c_int);
            rest = sys::rest_of(leader);
        }
        if were_killed && rest == Rest::Nothing { Rest::Ours } else { rest }
    }

    fn take_stop(&self, pid: Pid) -> io::Result<()> {
        let signal = sys::take_stop(pid)?;
        if let (Some(proc), Some(signal)) = (self.table.proc(pid), signal) {
            if signal == Signal::SIGTTIN as c_int || signal == Signal::SIGTTOU as c_int {
                report::stopped_by_terminal(proc.task_id(), pid, signal);
            }
        }
        Ok(())
    }

    fn take_end(&mut self, proc: ProcId, pid: Pid, end: &End) {
        let status = match *end {
            End::Exited(code) => Status::Exited(code),
            End::Killed { signal, .. } if signal == Signal::SIGKILL as c_int && !self.table.was_killed(proc) => {
                Status::KilledByOthers(self.oom_kills.explain().map_or(Killer::Unknown, Killer::OutOfMemory))
            }
            End::Killed { signal, dumped_core } => Status::Killed { signal, dumped_core },
        };
        self.hear(proc);
        self.table.remove(pid);
        self.ended.push((proc.task_id(), pid.as_raw()));
        self.policy.handle(self.clock.now(), Event::Ended(proc, status));
    }

    fn expect(&self, proc: ProcId) -> Newcomer {
        let task_id = proc.task_id();
        Newcomer {
            fork: proc.fork(),
            seat: self.table.next_seat(task_id),
            started: self.publisher.board().age(),
            name: sys::worker_name(&self.name, task_id),
        }
    }

    /// Returns in both processes: in the worker with the proof that it has one thread.
    fn fork(&mut self, proc: ProcId, newcomer: &Newcomer) -> Option<Alone> {
        self.flush_what_a_logger_wrote();
        let event = match self.service.fork_check.again().map(|alone| self.signals.fork(alone)) {
            Err(why) => Event::ForkUnsafe(proc, why),
            Ok(Err(error)) => Event::ForkFailed(proc, error),
            Ok(Ok(Fork::Child(alone))) => return Some(alone),
            Ok(Ok(Fork::Parent(pid))) => {
                self.table.enter(proc, newcomer.seat, pid, newcomer.started);
                Event::Forked(proc)
            }
        };
        self.policy.handle(self.clock.now(), event);
        None
    }

    /// Once everything was handed on, only a logger can write more: nobody else's code runs between two forks.
    fn flush_what_a_logger_wrote(&mut self) {
        if mem::replace(&mut self.flushed, !logging::logger_is_installed()) {
            return;
        }
        flush_buffers();
    }

    #[inline(never)] // A stack frame that is large makes each worker copy more of it.
    fn perform(&mut self, action: Action) {
        match action {
            Action::Signal(proc, signal) => self.signal(proc, signal),
            Action::Look(proc) => self.hear(proc),
            Action::Inspect(proc) => self.inspect(proc),
            Action::Weigh(proc) => self.weigh(proc),
            Action::CloseListeners => self.service.listeners.close(),
            Action::SetIntake(task_id, intake) => self.service.listeners.set_intake(task_id, intake),
            Action::OpenSockets(task_id) => {
                let event = match self.service.listeners.open(task_id) {
                    Ok(()) => Event::SocketsOpen(task_id),
                    Err(error) => Event::SocketsRefused(task_id, error),
                };
                self.policy.handle(self.clock.now(), event);
            }
            Action::LookAtQueue(task_id) => {
                let waiting = self.service.listeners.has_waiting(task_id);
                self.policy.handle(self.clock.now(), Event::Queue { task_id, waiting });
            }
            Action::CloseSockets(task_id) => self.service.listeners.close_slot(task_id),
            Action::Tell(notice) => self.tell(&notice),
            Action::Rehearse => self.rehearse(),
            Action::EndRehearsal => self.end_rehearsal(),
            Action::ForgetBinaryBefore => self.forget_before(),
            Action::Fork { .. } | Action::Exit(_) | Action::Upgrade | Action::GoBack { .. } => {
                unreachable!("run performs these itself")
            }
        }
    }

    fn signal(&mut self, proc: ProcId, signal: policy::Signal) {
        let Some(pid) = self.table.living_pid(proc) else { return };
        match signal {
            // A stopped worker would not see SIGTERM before it is continued.
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
        // Where the system does not tell, nothing is known to hold it.
        let hold = match pid.and_then(|pid| sys::hold(pid).ok()) {
            Some(sys::Hold::Debugger(by)) => Hold::Debugger(by),
            Some(sys::Hold::CoreDump) => Hold::CoreDump,
            Some(sys::Hold::Nothing) | None => Hold::Nothing,
        };
        self.policy.handle(self.clock.now(), Event::Inspected(proc, hold));
    }

    fn weigh(&mut self, proc: ProcId) {
        let Some(pid) = self.table.living_pid(proc) else { return };
        match sys::private_memory(pid) {
            Ok(bytes) => self.policy.handle(self.clock.now(), Event::Weighed(proc, bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if mem::take(&mut self.weighs) => logging::warn(&format!(
                "cannot measure the memory of worker {} (pid {pid}): {error}; max_memory does not apply to what cannot \
                 be measured: one that changed its user takes root with CAP_SYS_PTRACE",
                proc.task_id()
            )),
            Err(_) => {}
        }
    }

    /// Lets whoever looks at the pool see what has changed.
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
        let line = report::notice(notice, |proc| self.table.pid(proc));
        if let (Some(line), Some(manager)) = (line, &mut self.service.manager) {
            manager.tell(notice, &line, ready(&self.policy));
        }
    }

    /// Lets a service manager know how the pool is, before a wait, and that this process is alive.
    fn inform(&mut self, waits: bool) {
        let Some(manager) = &mut self.service.manager else { return };
        if waits {
            manager.update(ready(&self.policy));
        }
        manager.beat(|| self.policy.has_prospects());
    }

    fn wait(&self) {
        let now = self.clock.now();
        let unreaped = self.unreaped.then_some(REAP_AGAIN);
        let timeout = self.policy.poll_timeout().map(|deadline| deadline.since(now));
        let next_turn = self.service.manager.as_ref().and_then(Manager::next_turn);
        let instants = next_turn.into_iter().chain(self.next_look()).chain(self.bell.rest());
        let patience = instants.map(|instant| instant.saturating_duration_since(Instant::now()));
        self.signals.ready(self.others(), timeout.into_iter().chain(patience).chain(unreaped).min());
    }

    /// Turns a process just forked from the supervisor's copy into a worker: afterwards it has nothing of ours but
    /// its listeners.
    fn turn_into(self, worker: Worker, newcomer: &Newcomer, alone: &Alone) {
        let Supervisor { pid, name, signals, mask, heard, service, policy, table, publisher, board_file, bell, .. } =
            self;
        // Before it can make a process of its own: whoever signals the group reaches them all.
        let detached = match &service.detachment {
            Some(detachment) => detachment.detach(),
            None => {
                sys::lead_group();
                Ok(Keys::Kept)
            }
        };
        logging::close();
        let tied = tie::tie_to(pid);
        let stdin = tied.and_then(|()| if heard.stdin_is_terminal() { sys::stdin_to_null() } else { Ok(()) });
        let seated = stdin.and_then(|()| publisher.sit(worker.task_id, newcomer.occupant(sys::getpid())));
        let prepared = seated.and_then(|()| signals.close()).and_then(|()| mask.restore_in_worker());
        let keys = prepared.and(detached).unwrap_or_else(|error| {
            logging::error(&format!("worker {} cannot be prepared: {error}", worker.task_id));
            sys::end_now(1);
        });
        if let Some(credentials) = &service.credentials {
            // The change of credentials has cut the tie.
            let assumed = credentials.assume().and_then(|()| keys.leave_after_all()).and_then(|()| tie::rearm());
            if let Err(error) = assumed {
                logging::error(&format!("worker {} cannot become {}: {error}", worker.task_id, credentials.who));
                sys::end_now(1);
            }
        }
        if service.no_new_privs {
            if let Err(error) = sys::set_no_new_privs() {
                logging::error(&format!("worker {} cannot do without new rights: {error}", worker.task_id));
                sys::end_now(1);
            }
        }
        newcomer.name.set();
        bell.keep();
        drop(board_file);
        let mut listeners = service.listeners;
        listeners.retain(worker.task_id);
        become_worker(worker, listeners, &service.variables, Some(alone));
        // The memory stays shared with the supervisor as long as nobody frees it.
        mem::forget(policy);
        mem::forget(table);
        mem::forget(name);
        mem::forget(heard);
        mem::forget(self.oom_kills);
        mem::forget(service.variables);
        if let Some(manager) = service.manager {
            manager.leave();
        }
        mem::forget(service.credentials);
        // It closes what it has open, and frees nothing where that is nothing.
        drop(service.detachment);
        mem::forget(service.launch);
    }

    fn over(mut self, exit: Exit) -> Result<Outcome, Error> {
        self.service.listeners.close();
        if let Some(line) = self.service.listeners.still_held() {
            logging::warn(&line);
        }
        let error = match exit {
            Exit::Finished => {
                let all = wording::all(self.policy.size(), "have", "has");
                return self.in_order(&format!("{all} finished: exiting with status 0"));
            }
            Exit::Stopped { by, killed } => {
                let killed = if killed == 0 { String::new() } else { format!("; {killed} had to be killed") };
                return self.in_order(&format!("stopped by {by}{killed}: exiting with status 0"));
            }
            Exit::CannotFork(source) => {
                // Nothing that was started is left: the caller may go on as before.
                sys::set_process_name(&self.name);
                let _ = self.signals.close().and_then(|()| self.mask.restore());
                return Err(Error::Fork { source });
            }
            Exit::GaveUp { task_id, reason } => gave_up(task_id, reason),
            Exit::Unsafe(reason) => Error::BecameUnsafeToFork { reason },
            Exit::Unkillable(procs) => {
                let pids = procs.into_iter().filter_map(|proc| self.table.pid(proc)).map(Pid::as_raw).collect();
                Error::Unkillable { pids }
            }
        };
        logging::last_line(&error);
        self.tell_end(&error.to_string());
        Ok(Outcome::Over(Err(error)))
    }

    fn in_order(mut self, line: &str) -> Result<Outcome, Error> {
        logging::info(line);
        self.tell_end(line);
        Ok(Outcome::Over(Ok(())))
    }

    fn tell_end(&mut self, line: &str) {
        if let Some(manager) = &mut self.service.manager {
            manager.end(line);
        }
    }
}

/// Makes this process a worker, which has these listeners and does not see these environment variables. They stay where
/// it may have other threads, which may read them.
pub(crate) fn become_worker(worker: Worker, listeners: Listeners, variables: &[String], alone: Option<&Alone>) {
    if let Some(alone) = alone {
        variables.iter().for_each(|variable| sys::remove_variable(variable, alone));
    }
    listen::give(listeners);
    identity::become_worker(worker);
}

fn ready(policy: &Policy) -> notify::Pool {
    notify::Pool { ready: policy.ready(), workers: policy.size() }
}

/// What a worker, or a rehearsal, has left in its process group.
struct Leftovers {
    task_id: Option<usize>,
    leader: Pid,
    rest: Rest,
}

/// Names what was left. A worker that has not waited for its children leaves them as zombies: that is no news.
fn tell_leftovers(left: &[Leftovers]) {
    if left.is_empty() {
        return;
    }
    let leaders: Vec<Pid> = left.iter().map(|left| left.leader).collect();
    let members = sys::members(&leaders);
    for &Leftovers { task_id, leader, rest } in left {
        let members: Vec<&Member> = members.iter().filter(|member| member.group == leader).collect();
        let running: Vec<&Member> = members.iter().copied().filter(|member| !member.had_ended).collect();
        // Where none is there any more, the system has been fast.
        if members.is_empty() || !running.is_empty() {
            report::left_behind(task_id, leader, rest, &running);
        }
    }
}

/// How a child ended that is known to have ended.
fn reap(pid: Pid) -> io::Result<End> {
    sys::reap(pid)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

/// What was written but not handed on would be copied by a fork, and appear twice.
fn flush_buffers() {
    // First, because it may print.
    logging::flush();
    // A closed standard output loses its text with or without a fork; one that is full for now does not.
    while io::stdout().flush().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        sys::wait_for_stdout();
    }
    sys::flush_c_stdio();
}

fn gave_up(task_id: usize, reason: GiveUp) -> Error {
    match reason {
        GiveUp::Budget(Spent { max_restarts, window, .. }) => {
            Error::GaveUp { max_restarts: max_restarts.unwrap_or(usize::MAX), restart_window: window, task_id }
        }
        GiveUp::Boot => Error::CannotBoot { task_id },
        GiveUp::Final => Error::PermanentFailure { task_id },
    }
}

/// What a supervisor begins with.
struct Pool {
    policy: Policy,
    clock: Clock,
    publisher: Publisher,
    board_file: Option<File>,
    bell: Bell,
}

impl Pool {
    fn new(rules: Rules) -> io::Result<Pool> {
        let (publisher, board_file) = Publisher::new(rules.workers)?;
        let clock = Clock { origin: Instant::now(), stopped: Duration::ZERO };
        Ok(Pool { policy: Policy::new(rules), clock, publisher, board_file, bell: Bell::new()? })
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
