//! What becomes of a fork: what a process does by itself, and how it answers signals.

use super::super::super::Status;
use super::ms;
use crate::exit_status::EXIT_GIVE_UP;
use std::time::Duration;

pub(in super::super) const NORMAL: Status = Status::Exited(0);
pub(in super::super) const FAILED: Status = Status::Exited(1);
pub(in super::super) const FINAL: Status = Status::Exited(EXIT_GIVE_UP as i32);
pub(in super::super) const SEGFAULT: Status = Status::Killed { signal: 11, dumped_core: true };
pub(in super::super) const ABORTED: Status = Status::Killed { signal: 6, dumped_core: true };
pub(in super::super) const REAL_TIME_SIGNAL: Status = Status::Killed { signal: 37, dumped_core: false };
pub(in super::super) const SIGKILLED: Status = Status::Killed { signal: 9, dumped_core: false };

/// What becomes of a fork.
#[derive(Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "there are few, and most of them run")]
pub(in super::super) enum Fork {
    Runs(Life),
    Refused,
    Unsafe,
}

/// How long after something a process ends, and how. `None`: it does not end.
pub(in super::super) type End = Option<(Duration, Status)>;

/// What a process does, each at a time after its start, and how it answers signals.
#[derive(Clone, Copy)]
pub(in super::super) struct Life {
    pub(in super::super) ready: Option<Duration>,
    /// The first heartbeat, the time between two, and the last.
    pub(in super::super) heartbeats: Option<(Duration, Duration, Duration)>,
    pub(in super::super) recycle: Option<Duration>,
    /// An operator sends it SIGTERM.
    pub(in super::super) operator: Option<Duration>,
    /// Bytes at the start, and how many more in each second.
    pub(in super::super) memory: (u64, u64),
    pub(in super::super) alone: End,
    pub(in super::super) terminated: End,
    pub(in super::super) aborted: End,
    pub(in super::super) killed: End,
}

/// A process that is ready at once, runs until it is told to end, and then ends at once.
pub(in super::super) const OBEYS: Life = Life {
    ready: Some(Duration::ZERO),
    heartbeats: None,
    recycle: None,
    operator: None,
    memory: (0, 0),
    alone: None,
    terminated: Some((Duration::ZERO, NORMAL)),
    aborted: Some((Duration::ZERO, ABORTED)),
    killed: Some((Duration::ZERO, SIGKILLED)),
};

pub(in super::super) fn serves() -> Fork {
    Fork::Runs(OBEYS)
}

pub(in super::super) fn ends(milliseconds: u64, status: Status) -> Fork {
    Fork::Runs(Life { alone: Some((ms(milliseconds), status)), ..OBEYS })
}

/// Ends this many milliseconds after SIGTERM.
pub(in super::super) fn drains(milliseconds: u64, status: Status) -> Fork {
    Fork::Runs(Life { terminated: Some((ms(milliseconds), status)), ..OBEYS })
}

pub(in super::super) fn ignores_sigterm() -> Fork {
    Fork::Runs(Life { terminated: None, ..OBEYS })
}

pub(in super::super) fn survives_sigkill() -> Fork {
    Fork::Runs(Life { terminated: None, aborted: None, killed: None, ..OBEYS })
}

impl Fork {
    fn but(self, change: impl FnOnce(&mut Life)) -> Fork {
        let Fork::Runs(mut life) = self else { return self };
        change(&mut life);
        Fork::Runs(life)
    }

    pub(in super::super) fn ready(self, milliseconds: u64) -> Fork {
        self.but(|life| life.ready = Some(ms(milliseconds)))
    }

    pub(in super::super) fn never_ready(self) -> Fork {
        self.but(|life| life.ready = None)
    }

    /// Sends heartbeats `from` then on, one `every` time, and hangs after `until`.
    pub(in super::super) fn heartbeats(self, from: u64, every: u64, until: u64) -> Fork {
        self.but(|life| life.heartbeats = Some((ms(from), ms(every), ms(until))))
    }

    pub(in super::super) fn asks_at(self, milliseconds: u64) -> Fork {
        self.but(|life| life.recycle = Some(ms(milliseconds)))
    }

    pub(in super::super) fn told_by_operator(self, milliseconds: u64) -> Fork {
        self.but(|life| life.operator = Some(ms(milliseconds)))
    }

    pub(in super::super) fn grows(self, bytes: u64, per_second: u64) -> Fork {
        self.but(|life| life.memory = (bytes, per_second))
    }

    pub(in super::super) fn ignores_sigabrt(self) -> Fork {
        self.but(|life| life.aborted = None)
    }
}
