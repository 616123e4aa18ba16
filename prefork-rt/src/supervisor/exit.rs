//! How the supervisor ends once no worker is left: its last line, its result, and what a service manager is told.
//!
//! It must not know why the policy chose this end.

use super::{Outcome, Supervisor};
use crate::amounts;
use crate::error::Error;
use crate::logging;
use crate::policy::{Exit, GiveUp, Spent};
use crate::sys;

impl Supervisor {
    #[inline(never)] // A stack frame that is large makes each worker copy more of it.
    pub(super) fn over(&mut self, exit: Exit) -> Result<Outcome, Error> {
        self.service.listeners.close();
        self.show_variables();
        if let Some(line) = self.service.listeners.still_held() {
            logging::warn(&line);
        }
        let error = match exit {
            Exit::Finished => {
                let all = amounts::all(self.policy.size(), "have", "has");
                return self.in_order(&format!("{all} finished: exiting with status 0"));
            }
            Exit::Stopped { by, killed } => {
                let killed = if killed == 0 { String::new() } else { format!("; {killed} had to be killed") };
                return self.in_order(&format!("stopped by {by}{killed}: exiting with status 0"));
            }
            Exit::CannotFork(source) => {
                // Nothing that was started is left, so the caller may continue as before.
                sys::set_process_name(&self.name);
                let _ = self.signals.restore().and_then(|()| self.mask.restore());
                return Err(Error::Fork { source });
            }
            Exit::GaveUp { task_id, reason } => gave_up(task_id, reason),
            Exit::Unsafe(reason) => Error::BecameUnsafeToFork { reason },
            Exit::Unkillable(procs) => {
                let mut pids = Vec::new();
                for proc in procs {
                    pids.extend(self.table.pid(proc).map(|pid| pid.as_raw().unsigned_abs()));
                }
                Error::Unkillable { pids }
            }
        };
        logging::last_line(&error);
        self.tell_end(&error.to_string());
        Ok(Outcome::Over(Err(error)))
    }

    fn in_order(&mut self, line: &str) -> Result<Outcome, Error> {
        logging::info(line);
        self.tell_end(line);
        Ok(Outcome::Over(Ok(())))
    }

    fn tell_end(&mut self, line: &str) {
        if let Some(manager) = &mut self.service.manager {
            manager.end(line);
        }
    }
}

fn gave_up(task_id: usize, reason: GiveUp) -> Error {
    match reason {
        GiveUp::Budget(Spent { max_restarts, window, .. }) => {
            Error::GaveUp { max_restarts: max_restarts.unwrap_or(usize::MAX), restart_window: window, task_id }
        }
        GiveUp::Boot => Error::CannotBoot { task_id },
        GiveUp::Final => Error::PermanentFailure { task_id },
    }
}
