//! What happened, for whoever reads the log. How it reads is decided elsewhere.

use std::io;
use std::time::Duration;

use super::{Failure, Neutral, ProcId, Recycle, Share, Spent, Status};
use crate::exit_status::EXIT_GIVE_UP;

#[derive(Debug)]
pub(crate) enum Notice {
    Started {
        worker: ProcId,
        restarts: usize,
        replaces: Option<ProcId>,
    },
    /// Every worker is ready, for the first time.
    PoolReady {
        workers: usize,
        took: Duration,
    },
    Finished {
        worker: ProcId,
        up: Duration,
        left: usize,
    },
    /// It failed, counts, and is replaced after a while.
    Restarting {
        worker: ProcId,
        failure: Failure,
        up: Duration,
        delay: Duration,
        spent: Spent,
        /// What is there in its place already.
        successor: Option<ProcId>,
    },
    /// It ended, does not count, and is replaced after a while.
    StartingAgain {
        worker: ProcId,
        why: Neutral,
        up: Duration,
        delay: Duration,
        successor: Option<ProcId>,
    },
    /// It was told to end, and did.
    Stopped {
        worker: ProcId,
        status: Status,
        up: Duration,
    },
    /// The same, for the sake of its replacement.
    Replaced {
        worker: ProcId,
        status: Status,
        up: Duration,
    },
    /// The system refused a fork: the first in a spell, or the first since the last worker ended.
    ForkRefused {
        task_id: usize,
        error: io::Error,
        delay: Duration,
        /// `None` where it does not count, as a worker lives.
        spent: Option<Spent>,
    },
    /// No slot waits for a refused fork any more.
    ForksSucceed {
        refused: usize,
        took: Duration,
    },
    /// Few restarts are left.
    BudgetLow {
        spent: Spent,
    },
    /// Nothing has ever run here for long: it looks as if it could not.
    BootLooksBroken {
        task_id: usize,
    },
    /// It is not answering, and gets SIGABRT.
    Hung {
        worker: ProcId,
        silent: Duration,
        kill_after: Duration,
    },
    /// It is killed.
    /// A worker is not killed for being slow, because a debugger has it.
    Debugged {
        worker: ProcId,
        by: String,
    },
    /// A worker is not killed yet, because it dumps core.
    Dumping {
        worker: ProcId,
        at_most: Duration,
    },
    NotReady {
        worker: ProcId,
        ready_timeout: Duration,
    },
    /// It did not end in time, and is killed.
    KillingOne {
        worker: ProcId,
        after: Duration,
    },
    /// SIGKILL has not ended it.
    Overdue {
        worker: ProcId,
    },
    GivingUp {
        worker: ProcId,
        failure: Failure,
        up: Duration,
        reason: GiveUp,
    },
    ForksRefusedTooOften {
        task_id: usize,
        error: io::Error,
        spent: Spent,
    },
    Contributed(Share),
    Reloading {
        by: String,
        alive: usize,
    },
    ReloadQueued {
        by: String,
    },
    ReloadFailed {
        task_id: usize,
        why: TurnFailure,
        kept: Option<ProcId>,
        replaced: usize,
    },
    Reloaded {
        replaced: usize,
        took: Duration,
    },
    /// Somebody wants the binary on disk to take over.
    Upgrading {
        by: String,
    },
    /// One thing at a time: it begins when the one that is in progress is over.
    UpgradeQueued {
        by: String,
    },
    /// Nothing has changed.
    UpgradeFailed {
        why: String,
    },
    /// This is the new binary, which has taken over so many workers.
    Upgraded {
        alive: usize,
    },
    /// All workers are the new binary's.
    UpgradeDone {
        replaced: usize,
        took: Duration,
    },
    /// The new binary has failed for this reason, and this is the one before.
    WentBack {
        why: String,
        alive: usize,
    },
    /// The new binary has failed, and stays nevertheless.
    CannotGoBack {
        why: String,
    },
    Recycling {
        worker: ProcId,
        why: Recycle,
        up: Duration,
    },
    RecycleFailed {
        worker: ProcId,
        why: TurnFailure,
        /// None, where it says that trying again will not help.
        retry: Option<Duration>,
    },
    Scaled {
        by: String,
        from: usize,
        to: usize,
    },
    /// The system refuses another worker, so there are as many as before.
    CannotAdd {
        task_id: usize,
        error: io::Error,
        workers: usize,
    },
    /// The same, for a worker that was to have sockets of its own.
    CannotOpen {
        task_id: usize,
        error: io::Error,
        workers: usize,
    },
    /// Connections still wait for a worker that is one too many.
    NotDrained {
        task_id: usize,
        after: Duration,
    },
    /// There cannot be more workers, or fewer.
    NotScaled {
        by: String,
        workers: usize,
    },
    /// Whatever was asked, the pool is stopping.
    Ignored {
        by: String,
    },
    Stopping {
        by: Option<String>,
        alive: usize,
        graceful_timeout: Duration,
    },
    AlreadyStopping {
        by: String,
    },
    Killing {
        alive: usize,
        why: KillReason,
    },
}

/// Why the supervisor gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GiveUp {
    /// The budget is used up.
    Budget(Spent),
    /// It cannot boot.
    Boot,
    /// The worker says that trying again will not help.
    Final,
}

/// Why a replacement did not take its predecessor's place.
#[derive(Debug)]
pub(crate) enum TurnFailure {
    Failed {
        worker: ProcId,
        failure: Failure,
        up: Duration,
    },
    CannotFork(io::Error),
    /// SIGKILL has not ended this process, which is in the way.
    Overdue {
        worker: ProcId,
    },
}

impl TurnFailure {
    /// The replacement said that trying again will not help.
    pub(crate) fn is_final(&self) -> bool {
        let status = Status::Exited(EXIT_GIVE_UP.into());
        matches!(self, TurnFailure::Failed { failure: Failure::Ended(ended), .. } if *ended == status)
    }
}

#[derive(Debug)]
pub(crate) enum KillReason {
    GracefulTimeout(Duration),
    Asked(String),
}
