//! How one binary of a supervisor takes over from another: the state that it hands off, and how the next continues.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::credentials::Credentials;
use super::{Clock, Pool, Supervisor};
use crate::error::advice_on_descriptors;
use crate::listen::{self, HandoffSocket};
use crate::logging;
use crate::notify::Manager;
use crate::policy::{Event, Policy, Rules, Succession, TurnFailure};
use crate::report;
use crate::scoreboard::Publisher;
use crate::sys::{self, End, Signal, Uncopied, WakePipe};
use crate::upgrade::state::{self, State};
use crate::upgrade::{self, Launch, Previous, Received, Rehearsal};

impl Pool {
    /// The pool of the previous binary.
    #[inline(never)] // What it has on the stack would be a page more for each start.
    pub(super) fn adopt(rules: Rules, received: &Received, memory: &Uncopied) -> io::Result<Pool> {
        let State { clock, board, wake_pipe, back, .. } = &received.state;
        let board_file = received.copy(board.file)?;
        let wake_pipe = WakePipe::adopt(received.copy(wake_pipe.0)?, received.copy(wake_pipe.1)?)?;
        let clock = Clock { origin: instant(clock.started), stopped: clock.suspended };
        let publisher = Publisher::adopt(board_file.into(), board.capacity, instant(board.started))?;
        let succession = match back {
            Some(why) => Succession::Back { why: why.clone() },
            None => Succession::Forwards,
        };
        let policy = Policy::adopt(rules, received.state.pool.clone(), clock.now(), succession, memory);
        Ok(Pool { policy, clock, publisher, wake_pipe })
    }
}

/// The instant at which CLOCK_MONOTONIC showed this time.
fn instant(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(sys::monotonic().saturating_sub(time)).unwrap_or(now)
}

/// What CLOCK_MONOTONIC showed at this instant.
fn monotonic(instant: Instant) -> Duration {
    sys::monotonic().saturating_sub(instant.elapsed())
}

impl Supervisor {
    /// Takes over what the previous binary knew. Its descriptors are closed, as this binary has copies.
    pub(super) fn take_over(&mut self, received: Received) {
        let State { signals, back, name, manager, files, processes, pool, .. } = &received.state;
        self.mask.adopt(&signals.blocked, signals.child_ignored);
        self.signals.adopt(&signals.ignored);
        if signals.hangups_ignored {
            self.heard.ignore_hangups();
        }
        self.service.launch = Cow::Owned(received.launch().clone());
        if back.is_some() {
            // fexecve(3) has named this process after the number of a descriptor.
            self.name.clone_from(name);
        }
        if let (Some(manager), Some(told)) = (&mut self.service.manager, manager) {
            manager.go_on_from(told, |number| received.copy(number));
        }
        for proc in pool.procs() {
            let is_it = |process: &&state::Process| (process.task_id, process.fork) == (proc.task_id(), proc.fork());
            if let Some(process) = processes.iter().find(is_it) {
                self.table.adopt(proc, process);
            }
        }
        if let Err(error) = self.service.listeners.complete(pool.slots_with_sockets()) {
            logging::warn(&format!("not every worker gets a socket of its own at each address: {error}"));
        }
        for task_id in pool.slots_without_sockets() {
            self.service.listeners.close_slot(task_id);
        }
        for file in files {
            listen::adopt_file(&file.path, (file.device, file.inode));
        }
        match received.previous() {
            Ok(Some(previous)) => self.before = Some(previous),
            Ok(None) => self.forget_before(),
            Err(error) => {
                logging::warn(&format!("there is no way back to the previous binary: {error}"));
                self.forget_before();
            }
        }
    }

    pub(super) fn rehearse(&mut self) {
        if let Err(why) = self.start_rehearsal() {
            self.policy.handle(self.clock.now(), Event::Rehearsed(Err(why)));
        }
    }

    fn start_rehearsal(&mut self) -> Result<(), String> {
        if sys::is_privileged_start() {
            return Err(
                "a program with more rights than its caller (set-user-ID, say) is not upgraded in place".to_owned()
            );
        }
        Previous::this().map_err(cannot_keep)?;
        let workers = self.service.credentials.as_ref().and_then(Credentials::unprivileged);
        let binary = upgrade::next_binary(&self.service.launch, workers.as_ref())?;
        logging::info(&format!("rehearsing the start of {}", binary.display()));
        let state = self.state(None, None)?;
        super::flush_buffers();
        let single_thread = self.service.fork_check.again()?;
        let descriptors = self.descriptors(false);
        let rehearsal =
            Rehearsal::start(&self.service.launch, binary, &state, &descriptors, &self.mask, single_thread)?;
        self.rehearsal = Some(Box::new(rehearsal));
        Ok(())
    }

    pub(super) fn end_rehearsal(&mut self) {
        if let Some(rehearsal) = self.rehearsal.take() {
            self.send(rehearsal.pid, Signal::SIGKILL, sys::kill_group);
        }
    }

    pub(super) fn judge(&mut self, rehearsal: Rehearsal, end: &End) {
        let result = rehearsal.judge(end).map(|next| self.next = Some(next));
        self.policy.handle(self.clock.now(), Event::Rehearsed(result));
    }

    /// Becomes the binary that was rehearsed, or tells the policy why not.
    pub(super) fn upgrade(&mut self) {
        let Err(why) = self.become_next();
        self.policy.handle(self.clock.now(), Event::NotReplaced(why));
    }

    fn become_next(&mut self) -> Result<Infallible, String> {
        let next = self.next.take().ok_or("nothing was rehearsed")?;
        next.check()?;
        let workers = self.service.credentials.as_ref().and_then(Credentials::unprivileged);
        upgrade::next_binary(&self.service.launch, workers.as_ref())?;
        self.service.fork_check.again()?;
        let previous = Previous::this().map_err(cannot_keep)?;
        logging::info(&format!("the rehearsal was good: pid {} becomes {}", self.pid, next.binary.display()));
        self.hand_off(None, &previous, |launch, state, descriptors| {
            upgrade::become_next(launch, &next.binary, state, descriptors)
        })
    }

    /// Becomes the previous binary again, or tells the policy why not.
    pub(super) fn go_back(&mut self, task_id: usize, failure: &TurnFailure) {
        let why = report::upgrade_failure(task_id, failure, |proc| self.table.pid(proc));
        logging::warn(&format!("the new binary fails {why}; going back to the previous binary"));
        let Err(reason) = self.become_previous(why);
        self.service.commit();
        self.policy.handle(self.clock.now(), Event::NotReplaced(reason));
    }

    fn become_previous(&mut self, why: String) -> Result<Infallible, String> {
        let previous = self.before.take().ok_or("it was not kept")?;
        self.service.fork_check.again()?;
        self.hand_off(Some(why), &previous, |launch, state, descriptors| {
            upgrade::become_previous(launch, &previous, state, descriptors)
        })
    }

    /// Forgets the previous binary, because there is no way back to it any more.
    pub(super) fn forget_before(&mut self) {
        self.before = None;
        self.service.commit();
    }

    /// Hands everything off to another binary, which `execute` becomes. Returns only if that fails. `back` is why the
    /// new binary has failed, where the other binary is the previous one.
    fn hand_off(
        &mut self,
        back: Option<String>,
        previous: &Previous,
        execute: impl FnOnce(&Launch, &State, &[BorrowedFd<'_>]) -> String,
    ) -> Result<Infallible, String> {
        let goes_back = back.is_some();
        let state = self.state(back, Some(previous))?;
        self.prepare_to_go();
        let mut descriptors = self.descriptors(goes_back);
        descriptors.extend([previous.binary.as_fd(), previous.directory.as_fd()]);
        Err(execute(&self.service.launch, &state, &descriptors))
    }

    /// Writes out buffered text, leaves undecided signals to the next binary, and sends the service manager a sign of
    /// life, because the next binary cannot do so for a while.
    fn prepare_to_go(&mut self) {
        self.leave_undecided();
        super::flush_buffers();
        if let Some(manager) = &mut self.service.manager {
            manager.send_heartbeat();
        }
    }

    fn state(&mut self, back: Option<String>, previous: Option<&Previous>) -> Result<State, String> {
        let board = self.publisher.file().map(AsRawFd::as_raw_fd).ok_or(
            "the memory that the workers of this pool share cannot be handed off: there is no memfd_create(2), or the \
             size of files is limited (ulimit -f)",
        )?;
        let (blocked, child_ignored) = self.mask.handoff();
        let wake_pipe = self.wake_pipe.ends();
        let (mut sockets, mut files) = (Vec::new(), Vec::new());
        for handoff in self.service.listeners.handoffs(back.is_some()) {
            sockets.push(state_of(handoff));
        }
        for (path, (device, inode)) in listen::files() {
            files.push(state::File { path, device, inode });
        }
        Ok(State {
            supervisor: self.pid.as_raw(),
            back,
            name: self.name.clone(),
            directory: self.service.launch.directory().to_owned(),
            clock: state::Clock { started: monotonic(self.clock.origin), suspended: self.clock.stopped },
            signals: state::Signals {
                blocked,
                ignored: self.signals.handoff(),
                child_ignored,
                hangups_ignored: self.heard.hangups_are_ignored(),
            },
            manager: self.service.manager.as_ref().map(Manager::snapshot),
            board: state::Board {
                file: board,
                capacity: self.publisher.board().capacity(),
                started: monotonic(self.publisher.board().origin()),
            },
            wake_pipe: (wake_pipe.0.as_raw_fd(), wake_pipe.1.as_raw_fd()),
            sockets,
            files,
            previous: previous.map(Previous::numbers),
            processes: self.table.snapshot(),
            pool: self.policy.snapshot(),
        })
    }

    /// The descriptors that the next binary gets, or the previous one on the way back.
    fn descriptors(&self, back: bool) -> Vec<BorrowedFd<'_>> {
        let (reader, writer) = self.wake_pipe.ends();
        let mut descriptors = vec![reader, writer];
        if let Some(file) = self.publisher.file() {
            descriptors.push(file.as_fd());
        }
        for handoff in self.service.listeners.handoffs(back) {
            descriptors.push(handoff.socket);
        }
        if let Some(manager) = &self.service.manager {
            descriptors.extend(manager.descriptors());
        }
        descriptors
    }
}

fn cannot_keep(error: io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "; is /proc mounted?",
        _ => advice_on_descriptors(&error),
    };
    format!("this binary cannot be kept for a way back: {error}{advice}")
}

fn state_of(handoff: HandoffSocket<'_>) -> state::Socket {
    let HandoffSocket { entry, slot, stored, inherited, nonblocking, socket } = handoff;
    let (entry, stored, inherited) = (entry.to_owned(), stored.map(str::to_owned), inherited.cloned());
    state::Socket { entry, slot, stored, inherited, nonblocking, descriptor: socket.as_raw_fd() }
}
