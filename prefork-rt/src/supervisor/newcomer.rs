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
use crate::listen::Listeners;
use crate::logging;
use crate::policy::{Event, ProcId};
use crate::scoreboard::Occupant;
use crate::sys::{self, Fork, InChild, Pid, ProcessName, SingleThread, Unfreed};
use crate::worker::{Worker, tie};

/// What a worker needs to know of itself, found out before the fork.
struct Expected {
    worker: Worker,
    fork: u64,
    seat: usize,
    /// Since the scoreboard was made.
    started: Duration,
    name: ProcessName,
}

/// A process forked just now: still a copy of the supervisor, with one thread.
pub(super) struct Newcomer {
    expected: Expected,
    /// What is left to do for Python, once it has become a worker.
    python: Option<InChild>,
}

/// Why there is no new process.
enum NotForked {
    Unsafe(Unsafe),
    Failed(io::Error),
}

impl Supervisor {
    /// Forks, and returns in both processes: in the new one with what it has to become.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(super) fn fork(&mut self, proc: ProcId, worker: Worker) -> Option<Newcomer> {
        if logging::logger_is_installed() {
            // Only a logger has written since the buffers were flushed. No other code of the program runs between two forks but
            // Python's, after which Python's own buffers are flushed.
            flush_buffers();
        }
        let expected = self.expect(proc, worker);
        match self.fork_for_python() {
            Ok((Fork::Child, python)) => return Some(Newcomer { expected, python }),
            Ok((Fork::Parent(pid), _)) => self.forked(proc, pid, &expected),
            Err(not_forked) => self.not_forked(proc, not_forked),
        }
        None
    }

    #[inline(never)] // A stack frame that is large makes each worker copy more of it.
    fn forked(&mut self, proc: ProcId, pid: Pid, expected: &Expected) {
        self.table.enter(proc, expected.seat, pid, expected.started);
        self.policy.handle(self.clock.now(), Event::Forked(proc));
    }

    #[inline(never)] // A stack frame that is large makes each worker copy more of it.
    fn expect(&self, proc: ProcId, worker: Worker) -> Expected {
        let task_id = proc.task_id();
        Expected {
            worker,
            fork: proc.fork(),
            seat: self.table.next_seat(task_id),
            started: self.publisher.board().age(),
            name: names::worker(&self.name, task_id),
        }
    }

    #[cold]
    #[inline(never)] // A stack frame that is large makes each worker copy more of it.
    fn not_forked(&mut self, proc: ProcId, not_forked: NotForked) {
        let event = match not_forked {
            NotForked::Unsafe(why) => Event::ForkUnsafe(proc, self.service.fork_check.explain(why)),
            NotForked::Failed(error) => Event::ForkFailed(proc, error),
        };
        self.policy.handle(self.clock.now(), event);
    }

    /// Forks with CPython's protocol around it, where there is an interpreter.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    fn fork_for_python(&mut self) -> Result<(Fork, Option<InChild>), NotForked> {
        let single_thread = self.service.fork_check.look().map_err(NotForked::Unsafe)?;
        match self.service.python {
            None => self.fork_now(single_thread).map(|forked| (forked, None)),
            // What Python runs before the fork may start threads and open connections.
            Some(python) => python.around(|| {
                let single_thread = self.service.fork_check.look().map_err(NotForked::Unsafe)?;
                self.fork_now(single_thread)
            }),
        }
    }

    #[inline] // A stack frame more is a page that each worker may have to copy.
    fn fork_now(&mut self, single_thread: SingleThread) -> Result<Fork, NotForked> {
        if !self.service.variables.is_empty() {
            self.hide_variables(&single_thread);
        }
        self.signals.fork(single_thread).map_err(NotForked::Failed)
    }
}

/// Turns the process just forked, a copy of the supervisor, into a worker. Afterwards it has nothing of the supervisor
/// but its listeners.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(super) fn turn_into(supervisor: Unfreed<Supervisor>, newcomer: Newcomer) -> Worker {
    let Newcomer { expected: Expected { worker, fork, seat, started, name }, python } = newcomer;
    let Supervisor {
        pid,
        name: own_name,
        policy,
        clock: _,
        table,
        publisher,
        wake_pipe,
        signals,
        unreaped,
        mask,
        heard,
        oom_kills,
        measures: _,
        hidden,
        ends,
        ended,
        to_pass_on,
        rehearsal,
        next,
        before,
        mut service,
    } = supervisor.take();
    // This process does not have the memory of these: see `Uncopied`. Not even a panic may drop them.
    mem::forget((policy, table, unreaped, ends, ended, to_pass_on));
    // Before all else, so that a signal to the group reaches every process that the worker ever makes.
    let detached = match &service.detachment {
        Some(detachment) => detachment.detach(),
        None => {
            sys::lead_group();
            Ok(Keys::Kept)
        }
    };
    let own_pid = sys::getpid();
    let tied = tie::tie_to(pid, own_pid);
    let occupant = Occupant { pid: own_pid.as_raw(), fork, seat, started };
    let stdin = tied.and_then(|()| if heard.stdin_is_terminal() { sys::stdin_to_null() } else { Ok(()) });
    let seated = stdin.and_then(|()| publisher.sit(worker.task_id(), occupant));
    let unqueued = seated.and_then(|memory| Ok((memory, signals.into_descriptor()?)));
    let prepared = unqueued.and_then(|(memory, queue)| {
        // Before code of the program's runs, which its signal handlers are, too, and before this process has another user.
        let (lines, reader) = (logging::take_descriptor(), wake_pipe.become_writer());
        sys::close_all([lines, oom_kills.into_descriptor(), memory, queue, Some(reader)]);
        mask.restore_in_worker()
    });
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
    if let Err((option, error)) = service.attributes.set() {
        logging::error(&format!("worker {} cannot set {option}: {error}", worker.task_id()));
        sys::end_now(1);
    }
    name.set();
    become_worker(worker, &mut service.listeners);
    // These close descriptors, and free no memory where there are none.
    drop((rehearsal, next, before));
    if service.detachment.is_some() {
        service.detachment = None;
    }
    if let Some(manager) = &mut service.manager {
        manager.leave();
    }
    // Freeing memory would write to it, and so copy pages that are shared with the supervisor.
    mem::forget((own_name, mask, heard, hidden, service));
    // Its hooks are code of the user's: the first that runs in the worker.
    if let Some(python) = python {
        python.finish();
    }
    worker
}

/// Makes this process a worker that has these listeners.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn become_worker(worker: Worker, listeners: &mut Listeners) {
    listeners.give(worker.task_id());
    identity::become_worker(worker.0);
}

/// Flushes all buffers: a fork would copy buffered text, which would then appear twice.
pub(crate) fn flush_buffers() {
    // The logger comes first, because it may print.
    logging::flush();
    // A closed standard output loses its text with or without a fork. A full one takes the text later.
    while io::stdout().flush().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        sys::wait_for_stdout();
    }
    sys::flush_c_stdio();
}
