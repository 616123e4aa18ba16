//! The options of the policy, the facts that it is told, and the actions that it asks for.

use std::io;
use std::time::Duration;

use super::notice::{GiveUp, Notice, TurnFailure};
use super::state::State;
use crate::grammar::{Backoff, Reload, Restart, Width};

/// Time since the supervisor started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Duration);

impl Time {
    pub(crate) fn after(self, delay: Duration) -> Time {
        Time(self.0.saturating_add(delay))
    }

    pub(crate) fn before(self, age: Duration) -> Time {
        Time(self.0.saturating_sub(age))
    }

    pub(crate) fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// One fork for one task id; never used again, as a process id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcId {
    pub(super) task_id: usize,
    pub(super) fork: u64,
}

impl ProcId {
    #[cfg(test)]
    pub(crate) fn of(task_id: usize, fork: u64) -> ProcId {
        ProcId { task_id, fork }
    }

    pub(crate) fn task_id(self) -> usize {
        self.task_id
    }

    /// Which of all forks it is.
    pub(crate) fn fork(self) -> u64 {
        self.fork
    }
}

/// The options that the policy applies.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) workers: usize,
    /// How many workers there can be at most.
    pub(crate) most_workers: usize,
    /// Each slot has sockets of its own, those of the first workers from the start.
    pub(crate) slots_have_sockets: bool,
    pub(crate) max_restarts: Option<usize>,
    pub(crate) restart_window: Option<Duration>,
    pub(crate) restart: Restart,
    pub(crate) backoff: Backoff,
    pub(crate) graceful_timeout: Duration,
    /// How long the pool serves on after SIGTERM.
    pub(crate) drain_delay: Duration,
    pub(crate) readiness: Readiness,
    pub(crate) heartbeat_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_memory: Option<u64>,
    pub(crate) reload: Reload,
    /// How many slots are replaced at once.
    pub(crate) reload_width: Width,
    pub(crate) jitter_seed: u64,
}

/// When a worker counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// As soon as it is forked, because its body starts at once.
    AtFork,
    /// When it says that its body starts. Hooks run before.
    AtBody,
    /// When it says so, within this time.
    Announced(Duration),
}

impl Readiness {
    pub(crate) fn is_announced(self) -> bool {
        matches!(self, Readiness::Announced(_))
    }
}

/// A fact.
#[derive(Debug)]
pub(crate) enum Event {
    /// The answer to [`Action::Fork`]: the worker runs.
    Forked(ProcId),
    /// The answer to [`Action::Fork`]: the system refused.
    ForkFailed(ProcId, io::Error),
    /// The answer to [`Action::Fork`]: it would be unsafe, for this reason.
    ForkUnsafe(ProcId, String),
    /// What a worker has reported so far: when it wakes the supervisor, before its end, and as the answer to
    /// [`Action::ReadReport`].
    Reported(ProcId, Reported),
    /// The answer to [`Action::Inspect`].
    Inspected(ProcId, Hold),
    /// The answer to [`Action::Measure`]: the bytes of the worker's own memory.
    Measured(ProcId, u64),
    /// The answer to [`Action::OpenSockets`]: the slot has them.
    SocketsOpen(usize),
    /// The answer to [`Action::OpenSockets`]: the system refused.
    SocketsRefused(usize, io::Error),
    /// The answer to [`Action::InspectQueue`].
    Queue {
        task_id: usize,
        /// Connections wait there.
        waiting: bool,
    },
    /// A worker's process is gone.
    Ended(ProcId, Status),
    /// A request from outside, and who sent it.
    Ask(Ask, String),
    /// The answer to [`Action::Rehearse`], some time later: the new binary would start, or why not.
    Rehearsed(Result<(), String>),
    /// The answer to [`Action::Upgrade`] and [`Action::GoBack`], where this binary still runs: why.
    NotReplaced(String),
    /// Time has passed.
    Tick,
}

/// What a worker has reported of itself, and how long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) ready: bool,
    pub(crate) recycle: bool,
    /// It was last told to end, by any process.
    pub(crate) terminated: Option<Duration>,
    /// Its last heartbeat.
    pub(crate) heartbeat: Option<Duration>,
}

/// What keeps a process from running on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Nothing,
    /// A process that traces it: "pid 4711 (gdb)".
    Debugger(String),
    CoreDump,
}

/// What the supervisor is asked for from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A graceful stop after `drain_delay`. To ask again changes nothing: process managers ask twice.
    Stop,
    /// A graceful stop after `drain_delay`; during a stop that was asked for, an immediate one.
    Interrupt,
    /// A graceful stop without a delay, because a person waits for it; during a stop that was asked for, an immediate one.
    CtrlC,
    /// A graceful stop without a delay, because the terminal is gone. The kernel may say so more than once.
    HangUp,
    /// An immediate stop.
    StopNow,
    Reload,
    /// One worker more.
    More,
    /// One worker fewer.
    Fewer,
    /// Go on as the binary that is on disk now.
    Upgrade,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(i32),
    Killed {
        signal: i32,
        dumped_core: bool,
    },
    /// By SIGKILL, which the supervisor did not send.
    KilledByOthers(Killer),
}

/// Who sent a SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killer {
    /// Probably the kernel, for want of memory: this counter grew.
    OutOfMemory(Growth),
    Unknown,
}

/// The kernel's count of processes that it has killed for want of memory has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    pub(crate) counter: Scope,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Whose kills a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Cgroup,
    Kernel,
}

/// What the supervisor does next.
#[derive(Debug)]
pub(crate) enum Action {
    /// Start a worker. `restarts` is how often its task id was started before, and `workers` how many are wanted. To be
    /// answered before any other fact.
    Fork {
        proc: ProcId,
        restarts: usize,
        workers: usize,
    },
    Signal(ProcId, Signal),
    /// Read what a worker has reported. To be answered before any other fact.
    ReadReport(ProcId),
    /// Find out whether a debugger or a core dump holds a worker. To be answered before any other fact.
    Inspect(ProcId),
    /// Measure a worker's memory.
    Measure(ProcId),
    /// Let new connections go to the sockets of this slot, or not.
    SetIntake(usize, Intake),
    /// Make sockets for this slot, to which no new connection goes yet. To be answered before any other fact.
    OpenSockets(usize),
    /// Find out whether connections wait in the queue of this slot. To be answered before any other fact.
    InspectQueue(usize),
    /// Close the sockets of this slot: no process uses them any more.
    CloseSockets(usize),
    /// Close all listeners, because the pool stops: new connections are refused from here on.
    CloseListeners,
    /// Rehearse the start of the binary on disk.
    Rehearse,
    /// End the rehearsal, because it took too long or is of no use any more.
    EndRehearsal,
    /// Become the binary on disk. To be answered before any other fact.
    Upgrade,
    /// This binary has proved itself and stays: there is no way back to the previous one any more.
    Commit,
    /// Become the previous binary again, because the worker of this task id failed. To be answered before any other
    /// fact.
    GoBack {
        task_id: usize,
        why: TurnFailure,
    },
    Tell(Notice),
    /// Exit: the pool is over.
    Exit(Exit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM to the worker.
    Terminate,
    /// SIGABRT to the worker, so that it leaves a trace of what it was doing.
    Abort,
    /// SIGKILL to the worker and the processes that it made.
    Kill,
}

/// Whether new connections go to the sockets of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Intake {
    #[default]
    Open,
    /// They go to other slots as long as any of these is open, because no worker accepts here for now.
    Away,
    /// They never go to this slot, because no worker will accept here.
    Closed,
}

/// Why the supervisor exits.
#[derive(Debug)]
pub(crate) enum Exit {
    /// All workers ended normally.
    Finished,
    /// It was asked to stop. `killed` is how many workers had to be killed.
    Stopped {
        by: String,
        killed: usize,
    },
    GaveUp {
        task_id: usize,
        reason: GiveUp,
    },
    CannotFork(io::Error),
    Unsafe(String),
    /// SIGKILL has not ended these processes, so they are left behind, whatever the stop was for.
    Unkillable(Vec<ProcId>),
}

/// What is published of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) proc: Option<ProcId>,
    pub(crate) restarts: usize,
}
