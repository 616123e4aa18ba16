//! The sockets that slots have of their own, and the connections in their queues.

use super::super::super::intake::SETTLE;
use super::super::super::*;
use super::{Deed, World};
use std::io;

impl World {
    pub(super) fn open_sockets(&mut self, task_id: usize) {
        self.deeds.push((self.now, Deed::OpenSockets(task_id)));
        if self.sockets_are_refused {
            if self.fate.is_none() && task_id < self.size {
                while self.size > task_id {
                    self.size -= 1;
                    self.drop_last();
                }
            }
            return self.handle(Event::SocketsRefused(task_id, io::ErrorKind::OutOfMemory.into()));
        }
        assert_eq!(self.intakes.insert(task_id, Intake::Away), None, "task id {task_id} has sockets");
        self.handle(Event::SocketsOpen(task_id));
    }

    pub(super) fn inspect_queue(&mut self, task_id: usize) {
        self.deeds.push((self.now, Deed::InspectQueue(task_id)));
        let waiting = self.draining.get(&task_id).is_some_and(|&(since, until)| {
            assert!(self.now >= until || self.now - since >= SETTLE, "too soon to be sure");
            self.now - since < self.queue_lasts
        });
        if !waiting || self.draining.get(&task_id).is_some_and(|&(_, until)| self.now >= until) {
            self.draining.remove(&task_id);
            self.excuse(task_id);
        }
        self.handle(Event::Queue { task_id, waiting });
    }
}
