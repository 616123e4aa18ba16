//! What workers report, and what happens to workers that report nothing in time.

use std::time::Duration;

use super::deadlines::{Alarm, Deadline};
use super::slot::ProcState;
use super::{Policy, ProcId, Recycle, Reported};

/// How often the memory of a worker is measured.
pub(super) const MEASURE_EVERY: Duration = Duration::from_secs(10);

impl Policy {
    pub(super) fn reported(&mut self, id: ProcId, reported: Reported) {
        let now = self.now;
        // Until then a worker on trial does not count as ready.
        let trial = self.deadlines.time_of(Deadline::Proc { id, alarm: Alarm::Trial });
        let Some(proc) = self.made(id) else { return };
        if let Some(age) = reported.terminated {
            proc.terminated = Some(now.before(age));
        }
        if let Some(age) = reported.heartbeat {
            proc.last_heartbeat = proc.last_heartbeat.max(Some(now.before(age)));
        }
        let inspected_for = proc.inspected_for.take();
        let is_on_trial = trial.is_some_and(|until| now < until);
        let has_stood_it = trial.is_some() && !proc.says_ready;
        if (reported.ready || has_stood_it) && !is_on_trial {
            self.became_ready(id);
        }
        if reported.recycle {
            self.ask_recycle(id, Recycle::Asked);
        }
        match inspected_for {
            Some(Alarm::Ready) => self.judge_readiness(id),
            Some(Alarm::Heartbeat) => self.judge_silence(id),
            // The previous binary asked what holds the worker, and the answer was lost with it.
            Some(Alarm::Kill) => self.inspect(id, Alarm::Kill),
            _ => self.watch_heartbeats(id),
        }
    }

    pub(super) fn became_ready(&mut self, id: ProcId) {
        let now = self.now;
        let Some(proc) = self.proc(id).filter(|proc| proc.state == ProcState::Starting) else { return };
        proc.state = ProcState::Ready;
        proc.ready_since = Some(now);
        self.disarm(id, Alarm::Ready);
        self.disarm(id, Alarm::Trial);
        if self.rules.readiness.is_announced() {
            self.slots[id.task_id].boot_failures = 0;
        }
        self.commit_upgrade(id);
        self.turn_ready(id);
        self.touched(id.task_id);
    }

    fn judge_readiness(&mut self, id: ProcId) {
        if self.proc(id).is_some_and(|proc| proc.state == ProcState::Starting) {
            self.inspect(id, Alarm::Ready);
        }
    }

    /// Watches the worker's heartbeats from the first one on.
    fn watch_heartbeats(&mut self, id: ProcId) {
        let (Some(timeout), now) = (self.rules.heartbeat_timeout, self.now) else { return };
        let is_watched = self.is_armed(id, Alarm::Heartbeat);
        let Some(proc) = self.working(id) else { return };
        if let Some(last_heartbeat) = proc.last_heartbeat.filter(|_| !is_watched) {
            self.arm(id, Alarm::Heartbeat, last_heartbeat.after(timeout).since(now));
        }
    }

    /// A heartbeat is due. The report of a silent worker is read once more after a tenth of the timeout: a worker that
    /// was starved as long as the supervisor had no chance to report. A worker that another process told to end has as
    /// long for that as if the supervisor had told it.
    fn judge_silence(&mut self, id: ProcId) {
        let (Some(timeout), now) = (self.rules.heartbeat_timeout, self.now) else { return };
        let graceful_timeout = self.rules.graceful_timeout;
        let Some(proc) = self.working(id) else { return };
        let silent = proc.last_heartbeat.map_or(Duration::ZERO, |last_heartbeat| now.since(last_heartbeat));
        let drains_for = proc.terminated.map_or(Duration::ZERO, |when| when.after(graceful_timeout).since(now));
        let left = timeout.saturating_sub(silent).max(drains_for);
        if !left.is_zero() {
            proc.was_silent = false;
            self.arm(id, Alarm::Heartbeat, left);
        } else if !proc.was_silent {
            proc.was_silent = true;
            self.arm(id, Alarm::Heartbeat, timeout / 10);
        } else {
            self.inspect(id, Alarm::Heartbeat);
        }
    }

    pub(super) fn measured(&mut self, id: ProcId, bytes: u64) {
        if let Some(max_memory) = self.rules.max_memory.filter(|&max_memory| bytes > max_memory) {
            self.ask_recycle(id, Recycle::Memory { used: bytes, max_memory });
        }
    }
}
