//! The environment variables that workers do not see.
//!
//! They are taken out of the environment once, before the first fork: a worker that did so itself would copy the pages that it
//! lies in. At the end of the pool they are back, unless other threads run then, which may read the environment.

use std::env;
use std::mem;

use super::Supervisor;
use crate::sys::{self, SingleThread, Threads};

impl Supervisor {
    /// Call it just before the first fork, after all checks.
    #[cold]
    pub(super) fn hide_variables(&mut self, single_thread: &SingleThread) {
        for name in mem::take(&mut self.service.variables) {
            if let Some(value) = env::var_os(&name) {
                sys::remove_variable(&name, single_thread);
                self.hidden.push((name, value));
            }
        }
    }

    /// Where the system does not tell whether there are other threads, this goes by the user's word, as every fork did.
    pub(super) fn show_variables(&mut self) {
        let single_thread = match sys::other_threads() {
            Threads::None(single_thread) | Threads::Unknown(single_thread) => single_thread,
            Threads::Others { .. } => return,
        };
        for (name, value) in self.hidden.drain(..) {
            sys::set_variable(&name, &value, &single_thread);
        }
    }
}
