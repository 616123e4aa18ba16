//! What the policy goes by, what it is told, and what it asks for.

use std::io;
use std::time::Duration;

use super::notice::{GiveUp, Notice, TurnFailure};
use super::state::State;
use crate::grammar::{Backoff, Reload, Restart};

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
    pub(crate) fn task_id(self) -> usize {
        self.task_id
    }

    /// Which of all forks it is.
    pub(crate) fn fork(self) -> u64 {
        self.fork
    }
}

/// What the policy goes by.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) workers: usize,
    /// There cannot be more workers than so many.
    pub(crate) most_workers: usize,
    /// Each slot has sockets of its own, those of the first workers from the start.
    pub(crate) slots_have_sockets: bool,
    pub(crate) max_restarts: Option<usize>,
    pub(crate) restart_window: Option<Duration>,
    pub(crate) restart: Restart,
    pub(crate) backoff: Backoff,
    pub(crate) graceful_timeout: Duration,
    pub(crate) readiness: Readiness,
    pub(crate) heartbeat_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_memory: Option<u64>,
    pub(crate) reload: Reload,
    pub(crate) jitter_seed: u64,
}

/// When a worker counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// As soon as it is there: its body starts at once.
    AtFork,
    /// When its body starts, which it says: hooks run before.
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
    /// What a worker has said of itself so far: when it rings, before its end, and as the answer to [`Action::ReadReport`].
    Reported(ProcId, Reported),
    /// The answer to [`Action::Inspect`].
    Inspected(ProcId, Hold),
    /// The answer to [`Action::Measure`]: so many bytes are its own.
    Measured(ProcId, u64),
    /// The answer to [`Action::OpenSockets`]: the slot has them.
    SocketsOpen(usize),
    /// The answer to [`Action::OpenSockets`]: the system refused.
    SocketsRefused(usize, io::Error),
    /// The answer to [`Action::InspectQueue`].
    Queue {
        task_id: usize,
        /// Somebody waits there.
        waiting: bool,
    },
    /// A worker's process is gone.
    Ended(ProcId, Status),
    /// Somebody wants something, and who.
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
    /// A graceful stop. Asked for again, it is no other: process managers ask twice.
    Stop,
    /// A graceful stop; during a stop that was asked for, an immediate one.
    Interrupt,
    /// A graceful stop, because the terminal is gone, which may be said more than once.
    HangUp,
    /// An immediate stop.
    StopNow,
    Reload,
    /// One worker more.
    More,
    /// One worker fewer.
    Fewer,
    /// To go on as the binary that is on disk now.
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
    /// The kernel, as it seems, for want of memory: this counter grew.
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

/// What the supervisor is to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Start a worker, whose task id was started so many times before, as one of so many; to be answered before any
    /// other fact.
    Fork {
        proc: ProcId,
        restarts: usize,
        workers: usize,
    },
    Signal(ProcId, Signal),
    /// See what a worker has said of itself; to be answered before any other fact.
    ReadReport(ProcId),
    /// See whether a debugger or a core dump holds a worker; to be answered before any other fact.
    Inspect(ProcId),
    /// Measure a worker's memory.
    Measure(ProcId),
    /// Let new connections go to the sockets of this slot, or not.
    SetIntake(usize, Intake),
    /// Make sockets for this slot, to which nothing new goes yet; to be answered before any other fact.
    OpenSockets(usize),
    /// See whether somebody waits in the queue of this slot; to be answered before any other fact.
    InspectQueue(usize),
    /// Nobody is to use the sockets of this slot any more.
    CloseSockets(usize),
    /// The pool is stopping: new connections are to be refused from here on.
    CloseListeners,
    /// Try whether the binary on disk would start.
    Rehearse,
    /// That took too long, or is of no use any more.
    EndRehearsal,
    /// Become the binary on disk; to be answered before any other fact.
    Upgrade,
    /// The binary that was on disk has proved itself: the one before is not needed any more.
    Commit,
    /// Become the binary before again, because this worker failed so; to be answered before any other fact.
    GoBack {
        task_id: usize,
        why: TurnFailure,
    },
    Tell(Notice),
    /// All is over.
    Exit(Exit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To the worker: end.
    Terminate,
    /// To the worker: leave a trace of what you were doing, and end.
    Abort,
    /// To the worker and the processes it made.
    Kill,
}

/// Whether new connections go to the sockets of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Intake {
    #[default]
    Open,
    /// To those of other slots, as long as there are any that are open: nobody accepts here for now.
    Away,
    /// Never to this slot: nobody will accept here.
    Closed,
}

/// Why the supervisor exits.
#[derive(Debug)]
pub(crate) enum Exit {
    /// All workers ended normally.
    Finished,
    /// As asked, with so many alive when it came to SIGKILL.
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
    /// These are left behind, whatever the stop was for.
    Unkillable(Vec<ProcId>),
}

/// What is known of a slot, for whoever looks at the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) proc: Option<ProcId>,
    pub(crate) restarts: usize,
}
