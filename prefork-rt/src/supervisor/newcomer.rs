//! The fork, and how its child becomes a worker.
//!
//! It must not know why a worker is forked.

use std::io::{self, Write};
use std::mem;
use std::time::Duration;

use super::detachment::Keys;
use super::fork_check::Unsafe;
use super::{Supervisor, names};
use crate::identity;
use crate::listen::{self, Listeners};
use crate::logging;
use crate::policy::{Event, ProcId};
use crate::scoreboard::Occupant;
use crate::sys::{self, Fork, InChild, Pid, ProcessName, SingleThread};
use crate::worker::{Worker, tie};

/// What a worker needs to know of itself, found out before the fork: each page of code that a new worker enters, and each
/// page of memory that it writes to, costs it a fault.
pub(super) struct Newcomer {
    fork: u64,
    seat: usize,
    /// Since the scoreboard was made.
    started: Duration,
    name: ProcessName,
}

/// Why there is no new process.
enum NotForked {
    Unsafe(Unsafe),
    Failed(io::Error),
}

impl Newcomer {
    fn occupant(&self, pid: Pid) -> Occupant {
        Occupant { pid: pid.as_raw(), fork: self.fork, seat: self.seat, started: self.started }
    }
}

impl Supervisor {
    pub(super) fn expect(&self, proc: ProcId) -> Newcomer {
        let task_id = proc.task_id();
        Newcomer {
            fork: proc.fork(),
            seat: self.table.next_seat(task_id),
            started: self.publisher.board().age(),
            name: names::worker(&self.name, task_id),
        }
    }

    /// Forks, and returns in both processes: in the worker with the proof that it has one thread, and with what it must finish
    /// for Python once it has become a worker.
    pub(super) fn fork(&mut self, proc: ProcId, newcomer: &Newcomer) -> Option<(SingleThread, Option<InChild>)> {
        self.flush_what_a_logger_wrote();
        let event = match self.fork_for_python() {
            Err(NotForked::Unsafe(why)) => Event::ForkUnsafe(proc, self.service.fork_check.explain(why)),
            Err(NotForked::Failed(error)) => Event::ForkFailed(proc, error),
            Ok((Fork::Child(single_thread), python)) => return Some((single_thread, python)),
            Ok((Fork::Parent(pid), _)) => {
                self.table.enter(proc, newcomer.seat, pid, newcomer.started);
                Event::Forked(proc)
            }
        };
        self.policy.handle(self.clock.now(), event);
        None
    }

    /// Forks with CPython's protocol around it, where there is an interpreter.
    fn fork_for_python(&mut self) -> Result<(Fork, Option<InChild>), NotForked> {
        let single_thread = self.service.fork_check.look().map_err(NotForked::Unsafe)?;
        match self.service.python {
            None => self.signals.fork(single_thread).map(|forked| (forked, None)).map_err(NotForked::Failed),
            // What Python runs before the fork may start threads and open connections.
            Some(python) => python.around(|| {
                let single_thread = self.service.fork_check.look().map_err(NotForked::Unsafe)?;
                self.signals.fork(single_thread).map_err(NotForked::Failed)
            }),
        }
    }

    /// Flushes again only where a logger is installed: no other code of the program runs between two forks.
    fn flush_what_a_logger_wrote(&mut self) {
        if mem::replace(&mut self.flushed, !logging::logger_is_installed()) {
            return;
        }
        flush_buffers();
    }

    /// Turns the process just forked, a copy of the supervisor, into a worker. Afterwards it has nothing of the supervisor
    /// but its listeners.
    pub(super) fn turn_into(self, worker: Worker, newcomer: &Newcomer, single_thread: &SingleThread) {
        let Supervisor {
            pid,
            name,
            signals,
            mask,
            heard,
            service,
            policy,
            table,
            publisher,
            board_file,
            wake_pipe,
            ..
        } = self;
        // First of all, so that a signal to the group reaches every process that the worker ever makes.
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
        let seated = stdin.and_then(|()| publisher.sit(worker.task_id(), newcomer.occupant(sys::getpid())));
        let prepared = seated.and_then(|()| signals.close()).and_then(|()| mask.restore_in_worker());
        let keys = prepared.and(detached).unwrap_or_else(|error| {
            logging::error(&format!("worker {} cannot be prepared: {error}", worker.task_id()));
            sys::end_now(1);
        });
        if let Some(credentials) = &service.credentials {
            // The kernel clears the parent-death signal when credentials change, so the tie is made again.
            let assumed = credentials.assume().and_then(|()| keys.leave_after_all()).and_then(|()| tie::rearm());
            if let Err(error) = assumed {
                logging::error(&format!("worker {} cannot become {}: {error}", worker.task_id(), credentials.who));
                sys::end_now(1);
            }
        }
        if let Err((option, error)) = (service.set_attributes)() {
            logging::error(&format!("worker {} cannot set {option}: {error}", worker.task_id()));
            sys::end_now(1);
        }
        newcomer.name.set();
        wake_pipe.become_writer();
        drop(board_file);
        let mut listeners = service.listeners;
        listeners.retain(worker.task_id());
        become_worker(worker, listeners, &service.variables, Some(single_thread));
        // Freeing memory would write to it, and so copy pages that are shared with the supervisor.
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
        // This closes the terminals, and frees no memory where there are none.
        drop(service.detachment);
        mem::forget(service.launch);
    }
}

/// Makes this process a worker that has these listeners and does not see these environment variables. The variables stay
/// where the process may have other threads, which may read them.
pub(crate) fn become_worker(
    worker: Worker,
    listeners: Listeners,
    variables: &[String],
    single_thread: Option<&SingleThread>,
) {
    if let Some(single_thread) = single_thread {
        variables.iter().for_each(|variable| sys::remove_variable(variable, single_thread));
    }
    listen::give(listeners);
    identity::become_worker(worker.0);
}

/// Flushes all buffers: a fork would copy buffered text, which would then appear twice.
pub(super) fn flush_buffers() {
    // The logger comes first, because it may print.
    logging::flush();
    // A closed standard output loses its text with or without a fork. A full one takes the text later.
    while io::stdout().flush().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        sys::wait_for_stdout();
    }
    sys::flush_c_stdio();
}
