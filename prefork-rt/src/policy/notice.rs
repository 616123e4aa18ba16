//! What happened, for the log. `report.rs` decides how it reads.

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
    /// A worker failed, which counts, and is replaced after a while.
    Restarting {
        worker: ProcId,
        failure: Failure,
        up: Duration,
        delay: Duration,
        spent: Spent,
        /// The worker that is in its place already.
        successor: Option<ProcId>,
    },
    /// A worker ended, which does not count, and is replaced after a while.
    StartingAgain {
        worker: ProcId,
        why: Neutral,
        up: Duration,
        delay: Duration,
        successor: Option<ProcId>,
    },
    /// A worker was told to end, and did.
    Stopped {
        worker: ProcId,
        status: Status,
        up: Duration,
    },
    /// A worker was told to end because it is replaced, and did.
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
        /// `None` where it does not count, because a worker lives.
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
    /// No worker has ever run for long, so the service looks as if it could not.
    BootLooksBroken {
        task_id: usize,
    },
    /// A worker sends no heartbeats any more, and gets SIGABRT.
    Hung {
        worker: ProcId,
        silent: Duration,
        kill_after: Duration,
    },
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
    /// A worker was not ready in time, and is killed.
    NotReady {
        worker: ProcId,
        ready_timeout: Duration,
    },
    /// A worker did not end in time, and is killed.
    KillingOne {
        worker: ProcId,
        after: Duration,
    },
    /// SIGKILL has not ended a worker in time.
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
        /// How many workers are replaced at once.
        width: usize,
    },
    ReloadQueued {
        by: String,
    },
    ReloadFailed {
        task_id: usize,
        why: TurnFailure,
        kept: Option<ProcId>,
        replaced: usize,
        /// How many other turns were in progress and end with a new worker.
        go_on: usize,
        /// How many other replacements were not ready, and are told to end. Their old workers stay.
        go_back: usize,
    },
    Reloaded {
        replaced: usize,
        took: Duration,
    },
    /// The binary on disk was asked to take over.
    Upgrading {
        by: String,
    },
    /// The upgrade begins when the one in progress is over.
    UpgradeQueued {
        by: String,
    },
    /// The upgrade failed, and nothing has changed.
    UpgradeFailed {
        why: String,
    },
    /// This is the new binary, which has taken over the workers of the previous one.
    Upgraded {
        alive: usize,
        /// How many workers are replaced at once after the first one.
        width: usize,
    },
    /// All workers are the new binary's.
    UpgradeDone {
        replaced: usize,
        took: Duration,
    },
    /// The new binary has failed, and this is the previous one.
    WentBack {
        why: String,
        alive: usize,
    },
    /// The new binary has failed, and stays because there is no way back.
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
        /// `None` where the replacement's exit status means that trying again will not help.
        retry: Option<Duration>,
    },
    Scaled {
        by: String,
        from: usize,
        to: usize,
    },
    /// The system refuses to fork another worker, so there are as many workers as before.
    CannotAdd {
        task_id: usize,
        error: io::Error,
        workers: usize,
    },
    /// The system refuses sockets for another slot, so there are as many workers as before.
    CannotOpen {
        task_id: usize,
        error: io::Error,
        workers: usize,
    },
    /// Connections still wait in the queue of a slot that is not wanted any more.
    NotDrained {
        task_id: usize,
        after: Duration,
    },
    /// There cannot be more workers, or fewer, than there are.
    NotScaled {
        by: String,
        workers: usize,
    },
    /// A request was ignored, because the pool is stopping.
    Ignored {
        by: String,
    },
    /// A stop was asked for, and begins after `delay`.
    StopDelayed {
        by: String,
        alive: usize,
        delay: Duration,
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
    /// The service cannot boot.
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
    /// The replacement's exit status means that trying again will not help.
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
