//! The alarms of processes: armed, disarmed, and what each does when it rings.

use std::time::Duration;

use super::deadlines::{Alarm, Deadline};
use super::notice::Notice;
use super::watch::MEASURE_EVERY;
use super::{Action, Policy, ProcId, Recycle};

impl Policy {
    /// Arms an alarm that rings once. It takes the place of the one that was armed before.
    pub(super) fn arm(&mut self, id: ProcId, alarm: Alarm, delay: Duration) {
        self.disarm(id, alarm);
        if self.proc(id).is_some() {
            self.deadlines.set(Deadline::Proc { id, alarm }, self.now.after(delay));
            self.watch(alarm);
        }
    }

    pub(super) fn disarm(&mut self, id: ProcId, alarm: Alarm) {
        if self.deadlines.clear(Deadline::Proc { id, alarm }) {
            self.unwatch(alarm);
        }
    }

    pub(super) fn disarm_all(&mut self, id: ProcId) {
        while let Some(alarm) = self.deadlines.clear_one_of(id) {
            self.unwatch(alarm);
        }
    }

    pub(super) fn is_armed(&self, id: ProcId, alarm: Alarm) -> bool {
        self.deadlines.has(Deadline::Proc { id, alarm })
    }

    /// An alarm rings.
    pub(super) fn alarm(&mut self, id: ProcId, alarm: Alarm) {
        self.unwatch(alarm);
        let Some(proc) = self.proc(id) else { return };
        match alarm {
            Alarm::Trial if !proc.says_ready => self.became_ready(id),
            Alarm::Ready | Alarm::Trial | Alarm::Heartbeat => {
                proc.inspected_for = Some(alarm);
                self.actions.push_back(Action::ReadReport(id));
            }
            Alarm::Measure if proc.recycle.is_some() => {}
            Alarm::Measure => {
                self.arm(id, Alarm::Measure, MEASURE_EVERY);
                self.actions.push_back(Action::Measure(id));
            }
            Alarm::Retire => self.ask_recycle(id, Recycle::Lifetime),
            Alarm::Recycle => self.queue_recycle(id),
            Alarm::Kill => self.inspect(id, Alarm::Kill),
            Alarm::Overdue => {
                proc.is_overdue = true;
                self.tell(Notice::Overdue { worker: id });
                self.turn_overdue(id);
            }
        }
    }
}
