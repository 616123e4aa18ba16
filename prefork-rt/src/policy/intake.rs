//! Which slots take new connections, where each slot has sockets of its own, and how a slot's sockets come and go.
//!
//! Connections go where a worker accepts, or will in a moment. A slot that is not wanted any more is closed in this
//! order: new connections go elsewhere; its worker, or the next one, serves the connections in the queue; the worker is
//! told to end; the sockets are closed.

use std::io;
use std::time::Duration;

use super::deadlines::Deadline;
use super::notice::Notice;
use super::slot::{ProcState, Slot, Sockets, Why};
use super::{Action, Intake, Policy};

/// A slot that will have a worker again within this time still takes new connections.
const MOMENT: Duration = Duration::from_millis(50);
/// How long it may take until a connection that a client has begun to open waits in the queue of its slot: a lost
/// packet is sent again after a second.
pub(super) const SETTLE: Duration = Duration::from_millis(1500);
/// How often the queue of a slot that drains is inspected.
const INSPECT_AGAIN: Duration = Duration::from_millis(50);

impl Policy {
    /// Lets new connections go to a slot or not, by the state of its worker.
    pub(super) fn update_intake(&mut self, task_id: usize) {
        let Some(intake) = self.right_intake(task_id) else { return };
        let slot = &mut self.slots[task_id];
        if slot.sockets != Sockets::Open || slot.intake == intake {
            return;
        }
        slot.intake = intake;
        let is_left = slot.finished;
        self.actions.push_back(Action::SetIntake(task_id, intake));
        // No worker will ever serve the connections in the queue.
        if intake == Intake::Closed && is_left {
            self.inspect_queue_after(task_id, SETTLE);
        }
    }

    /// Whether new connections go to the slot. `None`: as before.
    fn right_intake(&self, task_id: usize) -> Option<Intake> {
        if !self.serves() {
            return None;
        }
        let slot = &self.slots[task_id];
        if task_id >= self.size || slot.finished {
            return Some(Intake::Closed);
        }
        let is_open = match slot.current.as_ref().map(|proc| proc.state) {
            // How long such a worker takes to be ready is not known.
            Some(ProcState::Starting) => !self.rules.readiness.is_announced(),
            Some(ProcState::Ready) => true,
            Some(ProcState::Ending(_) | ProcState::Killed(_)) => false,
            None => self.deadlines.time_of(Deadline::Start(task_id))?.since(self.now) <= MOMENT,
            Some(ProcState::Forking) => return None,
        };
        Some(if is_open { Intake::Open } else { Intake::Away })
    }

    /// The slot is wanted from now on, and gets sockets if it has none.
    pub(super) fn ask_for_sockets(&mut self, task_id: usize) {
        self.forget_queue(task_id);
        let slot = &mut self.slots[task_id];
        if self.rules.slots_have_sockets && slot.sockets == Sockets::None {
            slot.sockets = Sockets::Asked;
            self.actions.push_back(Action::OpenSockets(task_id));
        }
    }

    pub(super) fn sockets_open(&mut self, task_id: usize) {
        let Some(slot) = self.asked_for_sockets(task_id) else { return };
        slot.sockets = Sockets::Open;
        slot.intake = Intake::Away;
        self.dirty.push_back(task_id);
        self.close_sockets_if_left(task_id);
    }

    pub(super) fn sockets_refused(&mut self, task_id: usize, error: io::Error) {
        let Some(slot) = self.asked_for_sockets(task_id) else { return };
        slot.sockets = Sockets::None;
        if task_id < self.size {
            self.tell(Notice::CannotOpen { task_id, error, workers: task_id });
            self.shrink_to(task_id);
        }
    }

    fn asked_for_sockets(&mut self, task_id: usize) -> Option<&mut Slot> {
        self.slots.get_mut(task_id).filter(|slot| slot.sockets == Sockets::Asked)
    }

    /// The slot is not wanted any more. True where the connections in its queue are served first: by its worker, or by
    /// the next one where its worker is ending already.
    pub(super) fn begin_to_drain(&mut self, task_id: usize) -> bool {
        let timeout = self.rules.graceful_timeout;
        let until = self.now.after(timeout);
        let slot = &mut self.slots[task_id];
        if slot.sockets != Sockets::Open || slot.finished || slot.is_added {
            return false;
        }
        slot.drains = Some(until);
        self.draining += 1;
        self.inspect_queue_after(task_id, SETTLE.min(timeout));
        true
    }

    /// The slot is wanted again, or has drained. Says whether it was draining.
    pub(super) fn stop_to_drain(&mut self, task_id: usize) -> bool {
        let drains = self.slots[task_id].drains.take().is_some();
        self.draining -= usize::from(drains);
        self.forget_queue(task_id);
        drains
    }

    /// The time has come to inspect the queue, or to close the sockets.
    pub(super) fn queue_is_due(&mut self, task_id: usize) {
        if !self.serves() {
            return;
        }
        if self.drains(task_id) {
            self.actions.push_back(Action::InspectQueue(task_id));
        } else {
            self.close_sockets_if_left(task_id);
        }
    }

    /// The answer: whether connections wait in the queue.
    pub(super) fn queue_inspected(&mut self, task_id: usize, waiting: bool) {
        let drains = self.slots.get(task_id).and_then(|slot| slot.drains);
        let Some(until) = drains.filter(|_| self.serves()) else { return };
        if waiting && self.now < until {
            return self.inspect_queue_after(task_id, INSPECT_AGAIN.min(until.since(self.now)));
        }
        if waiting {
            self.tell(Notice::NotDrained { task_id, after: self.rules.graceful_timeout });
        }
        self.end_drain(task_id);
    }

    /// The queue is empty, or given up: the worker is told to end, if it is still there.
    pub(super) fn end_drain(&mut self, task_id: usize) {
        self.stop_to_drain(task_id);
        self.forget_start(task_id);
        self.forget_refusals_of(task_id);
        for id in self.slots[task_id].ids(&|_| true) {
            self.terminate(id, Why::Surplus);
        }
        self.close_sockets_if_left(task_id);
        self.exit_if_over();
    }

    /// Closes the sockets of a slot that is not wanted or has finished, when its last process has ended.
    pub(super) fn close_sockets_if_left(&mut self, task_id: usize) {
        let serves = self.serves();
        let slot = &mut self.slots[task_id];
        let is_wanted = task_id < self.size && !slot.finished || slot.drains.is_some();
        // While no slot is open, new connections may come to a slot whose intake is away.
        let is_closed = slot.intake == Intake::Closed || slot.intake == Intake::Away && !slot.finished;
        let has_settled = is_closed && !self.deadlines.has(Deadline::Queue(task_id));
        let is_open = slot.sockets == Sockets::Open && serves;
        if !is_wanted && has_settled && is_open && slot.current.is_none() && slot.beside.is_none() {
            slot.sockets = Sockets::None;
            self.actions.push_back(Action::CloseSockets(task_id));
        }
    }

    /// Whether the slot is not wanted any more, and its worker still serves the connections in the queue.
    pub(super) fn drains(&self, task_id: usize) -> bool {
        self.slots[task_id].drains.is_some()
    }

    /// Whether the slot has the sockets that a worker needs.
    pub(super) fn has_sockets(&self, task_id: usize) -> bool {
        !self.rules.slots_have_sockets || self.slots[task_id].sockets == Sockets::Open
    }

    fn inspect_queue_after(&mut self, task_id: usize, delay: Duration) {
        self.deadlines.set(Deadline::Queue(task_id), self.now.after(delay));
    }

    fn forget_queue(&mut self, task_id: usize) {
        self.deadlines.clear(Deadline::Queue(task_id));
    }
}
