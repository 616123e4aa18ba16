//! One worker more, or one fewer.

use std::io;

use super::Policy;
use super::notice::Notice;
use super::slot::{Slot, Why};

impl Policy {
    pub(super) fn add_worker(&mut self, by: String) {
        if self.size >= self.rules.most_workers {
            return self.tell(Notice::NotScaled { by, workers: self.size });
        }
        self.tell(Notice::Scaled { by, from: self.size, to: self.size + 1 });
        self.add_last();
    }

    fn add_last(&mut self) {
        let task_id = self.size;
        self.size += 1;
        if task_id == self.slots.len() {
            self.slots.push(Slot::default());
        }
        if self.stop_to_drain(task_id) {
            self.recycle_after_all(task_id);
        } else {
            self.slots[task_id].begin_anew();
            self.ask_for_sockets(task_id);
        }
        self.dirty.push_back(task_id);
        self.touched(task_id);
    }

    pub(super) fn remove_worker(&mut self, by: String) {
        if self.size == 1 {
            return self.tell(Notice::NotScaled { by, workers: 1 });
        }
        self.tell(Notice::Scaled { by, from: self.size, to: self.size - 1 });
        self.drop_last();
    }

    /// Adds or removes workers until there are this many, or as many as there is room for.
    pub(super) fn scale_to(&mut self, workers: usize, by: String) {
        let to = workers.clamp(1, self.rules.most_workers.max(1));
        if to == self.size {
            return;
        }
        self.tell(Notice::Scaled { by, from: self.size, to });
        while self.size < to {
            self.add_last();
        }
        while self.size > to {
            self.drop_last();
        }
    }

    /// The system has no room for a worker that was added, so the pool becomes as it was.
    pub(super) fn take_back(&mut self, task_id: usize, error: io::Error) {
        self.tell(Notice::CannotAdd { task_id, error, workers: task_id });
        self.shrink_to(task_id);
    }

    pub(super) fn shrink_to(&mut self, size: usize) {
        while self.size > size {
            self.drop_last();
        }
    }

    fn drop_last(&mut self) {
        let task_id = self.size - 1;
        self.cancel_turn(task_id);
        let drains = self.begin_to_drain(task_id);
        if !drains {
            self.forget_start(task_id);
            self.forget_refusals_of(task_id);
        }
        let slot = &mut self.slots[task_id];
        let serves = slot.current.as_ref().filter(|proc| drains && proc.is_working()).map(|proc| proc.id);
        for id in slot.ids(&|proc| Some(proc.id) != serves) {
            self.terminate(id, Why::Surplus);
        }
        self.size = task_id;
        self.touched(task_id);
        self.update_intake(task_id);
        self.close_sockets_if_left(task_id);
        self.tell_if_ready();
        self.exit_if_over();
    }
}
