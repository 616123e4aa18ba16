//! Telling one process to end, and killing one that takes too long.

use std::time::Duration;

use super::deadlines::Alarm;
use super::notice::Notice;
use super::slot::{Proc, ProcState, Why};
use super::{Action, Policy, ProcId, Readiness, Signal};

/// From SIGABRT to SIGKILL.
pub(super) const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// From SIGKILL until a process is overdue, and at the end of the pool is left behind.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(5);

impl Policy {
    /// Tells a process to end within the time of a graceful stop. For one that is ending already, only the reason
    /// changes.
    pub(super) fn terminate(&mut self, id: ProcId, why: Why) {
        let Some(proc) = self.proc(id) else { return };
        match &mut proc.state {
            ProcState::Ending(before) | ProcState::Killed(before) => *before = why,
            _ => self.end(id, why, Signal::Terminate, self.rules.graceful_timeout),
        }
    }

    fn end(&mut self, id: ProcId, why: Why, signal: Signal, timeout: Duration) {
        self.disarm_all(id);
        let Some(proc) = self.proc(id) else { return };
        (proc.state, proc.grace) = (ProcState::Ending(why), timeout);
        self.arm(id, Alarm::Kill, timeout);
        self.actions.push_back(Action::Signal(id, signal));
        self.touched(id.task_id);
    }

    fn kill(&mut self, id: ProcId, why: Why) {
        self.disarm_all(id);
        let Some(proc) = self.proc(id) else { return };
        proc.state = ProcState::Killed(why);
        self.arm(id, Alarm::Overdue, KILL_TIMEOUT);
        self.actions.push_back(Action::Signal(id, Signal::Kill));
        self.touched(id.task_id);
    }

    pub(super) fn kill_unready(&mut self, id: ProcId) {
        let Readiness::Announced(ready_timeout) = self.rules.readiness else { return };
        self.tell(Notice::NotReady { worker: id, ready_timeout });
        self.kill(id, Why::NotReady);
    }

    pub(super) fn abort(&mut self, id: ProcId) {
        let now = self.now;
        let Some(last_heartbeat) = self.proc(id).and_then(|proc| proc.last_heartbeat) else { return };
        self.tell(Notice::Hung { worker: id, silent: now.since(last_heartbeat), kill_after: ABORT_TIMEOUT });
        self.end(id, Why::Hung, Signal::Abort, ABORT_TIMEOUT);
    }

    /// Kills a process that was told to end and took too long.
    pub(super) fn kill_late(&mut self, id: ProcId) {
        let Some(&mut Proc { state: ProcState::Ending(why), grace: after, .. }) = self.proc(id) else { return };
        self.tell(Notice::KillingOne { worker: id, after });
        self.count_killed(1);
        self.kill(id, why);
    }
}
