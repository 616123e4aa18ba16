//! The place of one task id, and the processes that hold it. It must not know what the end of one means.

use std::time::Duration;

use super::backoff::Backoff;
use super::deadlines::Alarm;
use super::headcount::Standing;
use super::{Intake, ProcId, Recycle, Time};

/// The place of one task id.
#[derive(Clone, Default)]
pub(crate) struct Slot {
    pub(crate) current: Option<Proc>,
    /// The process beside the current one: its replacement, which is not ready yet, or its predecessor, which was told
    /// to end.
    pub(crate) beside: Option<Proc>,
    pub(crate) starts: usize,
    pub(crate) backoff: Backoff,
    /// Forks in a row that the system refused, since its last worker.
    pub(crate) refusals: u32,
    /// Failures in a row before it was ready, or, where readiness is not announced, within a moment.
    pub(crate) boot_failures: u32,
    pub(crate) finished: bool,
    /// It was added while the pool runs, and has had no process since.
    pub(crate) is_added: bool,
    /// What it is counted as.
    pub(crate) counted: Standing,
    /// Its own sockets, where each slot has some.
    pub(crate) sockets: Sockets,
    pub(crate) intake: Intake,
    /// It is not wanted any more, and its worker serves the connections in the queue, until this time at most.
    pub(crate) drains: Option<Time>,
}

/// The sockets of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sockets {
    #[default]
    None,
    Asked,
    Open,
}

/// A process.
#[derive(Clone)]
pub(crate) struct Proc {
    pub(crate) id: ProcId,
    pub(crate) born: Time,
    pub(crate) state: ProcState,
    /// How long it was given to end.
    pub(crate) grace: Duration,
    /// It says when it is ready.
    pub(crate) says_ready: bool,
    /// Since when it has been ready, or was before it was told to end.
    pub(crate) ready_since: Option<Time>,
    pub(crate) last_heartbeat: Option<Time>,
    /// Its heartbeat was late. Its report is read once more before that counts.
    pub(crate) was_silent: bool,
    /// When it got a SIGTERM, from any sender.
    pub(crate) terminated: Option<Time>,
    /// Why it will be replaced when its turn comes.
    pub(crate) recycle: Option<Recycle>,
    /// The alarm for which its report is read, or for which it is inspected.
    pub(crate) inspected_for: Option<Alarm>,
    /// A debugger held it when it would have been killed.
    pub(crate) held: bool,
    /// Until when SIGKILL waits for its core dump.
    pub(crate) dumps_until: Option<Time>,
    /// SIGKILL has not ended it in time.
    pub(crate) is_overdue: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcState {
    Forking,
    /// Running, and not ready.
    Starting,
    Ready,
    /// Told to end.
    Ending(Why),
    Killed(Why),
}

/// Why a process was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The pool stops.
    Stop,
    /// It is replaced, by a reload or for its own sake.
    Turn,
    /// There is one worker too many.
    Surplus,
    /// Its heartbeats have stopped.
    Hung,
    /// It was not ready in time.
    NotReady,
}

impl Slot {
    /// The slot is added once more, without a past.
    pub(crate) fn begin_anew(&mut self) {
        self.backoff.forgive();
        (self.finished, self.boot_failures, self.is_added) = (false, 0, true);
    }

    /// The process with this id, whichever place it holds.
    pub(crate) fn proc(&mut self, id: ProcId) -> Option<&mut Proc> {
        match (&mut self.current, &mut self.beside) {
            (Some(proc), _) | (_, Some(proc)) if proc.id == id => Some(proc),
            _ => None,
        }
    }

    /// The ids of its processes for which this holds.
    pub(crate) fn ids(&self, is_meant: &dyn Fn(&Proc) -> bool) -> Vec<ProcId> {
        let mut ids = Vec::new();
        for place in [&self.current, &self.beside] {
            match place {
                Some(proc) if is_meant(proc) => ids.push(proc.id),
                Some(_) | None => {}
            }
        }
        ids
    }

    /// What it counts as where it is wanted.
    pub(crate) fn standing(&self) -> Standing {
        match &self.current {
            _ if self.finished => Standing::Finished,
            Some(Proc { state: ProcState::Ready, .. }) => Standing::Ready,
            _ => Standing::Uncounted,
        }
    }

    /// Whether it has a worker that is ready or may become so, or will be given one.
    pub(crate) fn has_prospects(&self) -> bool {
        let is_promising = |proc: &Proc| match proc.state {
            ProcState::Forking | ProcState::Starting | ProcState::Ready | ProcState::Ending(Why::Turn) => true,
            ProcState::Ending(_) | ProcState::Killed(_) => false,
        };
        let is_awaited = self.current.is_none() && !self.finished;
        is_awaited || self.current.as_ref().is_some_and(is_promising) || self.beside.as_ref().is_some_and(is_promising)
    }

    /// Whether the slot will change by itself in bounded time. A process that is ready stays as it is, and so may one
    /// that SIGKILL has not ended.
    pub(crate) fn goes_on(&self) -> bool {
        let is_awaited = self.current.is_none() && self.beside.is_none() && !self.finished;
        let changes = |proc: &Proc| proc.state != ProcState::Ready && !proc.is_overdue;
        is_awaited
            || self.drains.is_some()
            || self.current.as_ref().is_some_and(changes)
            || self.beside.as_ref().is_some_and(changes)
    }

    /// Takes a process out of its place.
    pub(crate) fn take(&mut self, id: ProcId) -> Option<Proc> {
        let has_id = |proc: &mut Proc| proc.id == id;
        self.current.take_if(has_id).or_else(|| self.beside.take_if(has_id))
    }
}

impl Proc {
    pub(crate) fn forking(id: ProcId, now: Time) -> Proc {
        Proc {
            id,
            born: now,
            state: ProcState::Forking,
            grace: Duration::ZERO,
            says_ready: false,
            ready_since: None,
            last_heartbeat: None,
            was_silent: false,
            terminated: None,
            recycle: None,
            inspected_for: None,
            held: false,
            dumps_until: None,
            is_overdue: false,
        }
    }

    /// Whether it was ready for this long.
    pub(crate) fn was_ready_for(&self, time: Duration, now: Time) -> bool {
        self.ready_since.is_some_and(|since| now.since(since) >= time)
    }

    /// Running, and not told to end.
    pub(crate) fn is_working(&self) -> bool {
        matches!(self.state, ProcState::Starting | ProcState::Ready)
    }
}
