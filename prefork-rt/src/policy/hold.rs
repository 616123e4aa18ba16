//! A worker that is too slow while a debugger or a core dump holds it: which kills wait for that, and how long.
//!
//! While a debugger is attached, a worker is not killed for its own slowness (heartbeat, readiness). The time that a
//! stop, a reload or a recycling gives a worker goes on, because something else waits for its end. A core dump holds
//! off the SIGKILL for one worker up to a bound. The SIGKILL at the stop of the whole pool does not wait for it.

use std::time::Duration;

use super::deadlines::Alarm;
use super::kill::ABORT_TIMEOUT;
use super::notice::Notice;
use super::slot::{Proc, ProcState, Why};
use super::{Action, Hold, Policy, ProcId, Readiness};

/// How long SIGKILL waits for a core dump at most: at 100 MB/s, long enough for 30 GB. The bound is for a dump whose
/// disk or reader hangs.
pub(super) const DUMP_TIMEOUT: Duration = Duration::from_secs(300);
/// How often a worker that dumps core is inspected.
pub(super) const DUMP_AGAIN: Duration = Duration::from_secs(1);

impl Policy {
    /// Asks what holds the worker before it is killed for what this alarm is about.
    pub(super) fn inspect(&mut self, id: ProcId, alarm: Alarm) {
        let Some(proc) = self.proc(id) else { return };
        proc.inspected_for = Some(alarm);
        // It comes before all other actions, so that few facts come between the question and the answer.
        self.actions.push_front(Action::Inspect(id));
    }

    pub(super) fn inspected(&mut self, id: ProcId, hold: Hold) {
        let Some(proc) = self.made(id) else { return };
        let Some(alarm) = proc.inspected_for.take().filter(|&alarm| is_due(proc, alarm)) else { return };
        let is_hung = proc.state == ProcState::Ending(Why::Hung);
        match hold {
            Hold::Debugger(by) if alarm != Alarm::Kill || is_hung => self.wait_for_debugger(id, alarm, by),
            Hold::CoreDump => self.wait_for_dump(id, alarm),
            Hold::Debugger(_) | Hold::Nothing => self.let_go(id, alarm),
        }
    }

    fn wait_for_debugger(&mut self, id: ProcId, alarm: Alarm, by: String) {
        let is_news = self.proc(id).is_some_and(|proc| !std::mem::replace(&mut proc.held, true));
        if is_news {
            self.tell(Notice::Debugged { worker: id, by });
        }
        let patience = self.patience(alarm);
        self.arm(id, alarm, patience);
    }

    fn wait_for_dump(&mut self, id: ProcId, alarm: Alarm) {
        let now = self.now;
        let Some(proc) = self.proc(id) else { return };
        let is_news = proc.dumps_until.is_none();
        let until = *proc.dumps_until.get_or_insert(now.after(DUMP_TIMEOUT));
        if now >= until {
            return self.act(id, alarm);
        }
        if is_news {
            self.tell(Notice::Dumping { worker: id, at_most: DUMP_TIMEOUT });
        }
        self.arm(id, alarm, DUMP_AGAIN.min(until.since(now)));
    }

    /// Nothing holds the worker. A worker that a debugger has let go since has all of its time once more, unless it was
    /// told to end. A worker that has written its core frees its memory, which takes a while.
    fn let_go(&mut self, id: ProcId, alarm: Alarm) {
        let now = self.now;
        let Some(proc) = self.proc(id) else { return };
        let was_held = std::mem::take(&mut proc.held) && alarm != Alarm::Kill;
        let has_dumped = proc.dumps_until.is_some_and(|until| now < until);
        if has_dumped {
            proc.dumps_until = Some(now);
        }
        proc.was_silent &= !was_held;
        match (was_held, has_dumped) {
            (false, false) => self.act(id, alarm),
            (false, true) => self.arm(id, alarm, ABORT_TIMEOUT),
            (true, _) => {
                let patience = self.patience(alarm);
                self.arm(id, alarm, patience);
            }
        }
    }

    /// How long a worker has until this alarm rings.
    fn patience(&self, alarm: Alarm) -> Duration {
        match (alarm, self.rules.readiness, self.rules.heartbeat_timeout) {
            (Alarm::Ready, Readiness::Announced(ready_timeout), _) => ready_timeout,
            (Alarm::Heartbeat, _, Some(heartbeat_timeout)) => heartbeat_timeout,
            _ => ABORT_TIMEOUT,
        }
    }

    fn act(&mut self, id: ProcId, alarm: Alarm) {
        match alarm {
            Alarm::Ready => self.kill_unready(id),
            Alarm::Heartbeat => self.abort(id),
            Alarm::Kill => self.kill_late(id),
            Alarm::Trial | Alarm::Measure | Alarm::Retire | Alarm::Recycle | Alarm::Overdue => {}
        }
    }
}

/// Whether the worker is still in the state that this alarm is about.
fn is_due(proc: &Proc, alarm: Alarm) -> bool {
    match alarm {
        Alarm::Ready => proc.state == ProcState::Starting,
        Alarm::Heartbeat => proc.is_working(),
        Alarm::Kill => matches!(proc.state, ProcState::Ending(_)),
        Alarm::Trial | Alarm::Measure | Alarm::Retire | Alarm::Recycle | Alarm::Overdue => false,
    }
}
