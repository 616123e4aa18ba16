//! A supervisor that stood still, because it was stopped, frozen with its cgroup, or starved. Its workers may have
//! stood still with it, so their silence means nothing, and their intervals begin anew.
//!
//! The only evidence of standing still is a deadline that the supervisor met too late. A signal is no evidence: any
//! process of the session may send SIGCONT, and a process that sent it again and again would hide a worker that hangs.

use std::time::Duration;

use super::deadlines::{Alarm, Deadline};
use super::{Policy, ProcId, Readiness, Time};

/// A supervisor that is later than this, and than a quarter of the interval, stood still.
const LATE: Duration = Duration::from_millis(100);
/// In each interval that is watched the supervisor wakes up this often, all workers together, so that it is late for
/// one of these moments when it stood still for half of the interval, and may be from a quarter on.
const MOMENTS: u32 = 4;

/// How many workers have an interval that is watched.
#[derive(Default)]
pub(super) struct Watched {
    starts: usize,
    heartbeats: usize,
    /// When intervals last began anew.
    anew: Option<Time>,
}

impl Watched {
    fn of(&mut self, alarm: Alarm) -> Option<&mut usize> {
        match alarm {
            Alarm::Ready => Some(&mut self.starts),
            Alarm::Heartbeat => Some(&mut self.heartbeats),
            Alarm::Trial | Alarm::Measure | Alarm::Retire | Alarm::Recycle | Alarm::Kill | Alarm::Overdue => None,
        }
    }
}

impl Policy {
    /// An alarm was armed, so its interval may have to be watched.
    pub(super) fn watch(&mut self, alarm: Alarm) {
        let Some(count) = self.watched.of(alarm) else { return };
        *count += 1;
        let Some(next) = self.next_moment() else { return };
        if self.deadlines.time_of(Deadline::Awake).is_none_or(|moment| next < moment) {
            self.wake_up_at(Some(next));
        }
    }

    /// An alarm was disarmed or rings, so its interval is not watched any more.
    pub(super) fn unwatch(&mut self, alarm: Alarm) {
        let Some(count) = self.watched.of(alarm) else { return };
        *count -= 1;
        if self.next_moment().is_none() {
            self.wake_up_at(None);
        }
    }

    /// No interval is watched any more.
    pub(super) fn unwatch_all(&mut self) {
        self.wake_up_at(None);
        self.watched = Watched::default();
    }

    /// The supervisor woke up for the intervals that are watched.
    pub(super) fn moment_is_due(&mut self) {
        let next = self.next_moment();
        self.wake_up_at(next);
    }

    fn wake_up_at(&mut self, next: Option<Time>) {
        if let Some(next) = next {
            self.deadlines.set(Deadline::Awake, next);
        } else {
            self.deadlines.clear(Deadline::Awake);
        }
    }

    fn next_moment(&self) -> Option<Time> {
        let starts = self.start_interval().filter(|_| self.watched.starts > 0);
        let heartbeats = self.rules.heartbeat_timeout.filter(|_| self.watched.heartbeats > 0);
        let shortest = match (starts, heartbeats) {
            (Some(start), Some(heartbeat)) => start.min(heartbeat),
            (one, other) => one.or(other)?,
        };
        Some(self.now.after(shortest / MOMENTS))
    }

    fn start_interval(&self) -> Option<Duration> {
        match self.rules.readiness {
            Readiness::Announced(ready_timeout) => Some(ready_timeout),
            Readiness::AtFork | Readiness::AtBody => None,
        }
    }

    /// Some deadline was met this late. Deadlines that are due together come in order, so the first one tells how late
    /// the supervisor is.
    pub(super) fn was_late(&mut self, late: Duration) {
        if late <= LATE || self.watched.anew == Some(self.now) {
            return;
        }
        self.watched.anew = Some(self.now);
        let stood_still = |interval: &Duration| late > LATE.max(*interval / MOMENTS);
        if let Some(timeout) = self.rules.heartbeat_timeout.filter(stood_still) {
            self.begin_silence_anew(timeout);
        }
        if let Some(timeout) = self.start_interval().filter(stood_still) {
            self.begin_anew(Alarm::Ready, timeout);
        }
    }

    fn begin_silence_anew(&mut self, timeout: Duration) {
        for id in self.begin_anew(Alarm::Heartbeat, timeout) {
            if let Some(proc) = self.proc(id) {
                proc.was_silent = false;
            }
        }
    }

    fn begin_anew(&mut self, alarm: Alarm, timeout: Duration) -> Vec<ProcId> {
        let watched = self.deadlines.procs_with(alarm);
        for &id in &watched {
            self.arm(id, alarm, timeout);
        }
        watched
    }
}
