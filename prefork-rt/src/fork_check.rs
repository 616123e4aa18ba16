//! Whether forking is safe now, and the words that say why not.
//!
//! A worker has only the thread that forked: a lock that another thread held is never released in it, and an event
//! loop made before the fork is shared by all workers. So nothing is forked while either is there.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::report;
use crate::sys::{self, Alone, Threads};

/// A thread that was joined may be seen for a moment longer.
const PATIENCE: Duration = Duration::from_millis(50);
/// One that is known to be at its end, for as long as a loaded machine may take.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(10);

/// The end of each advice.
const WHERE_INSTEAD: &str = "in main's body, which runs in the workers, not in preload or before prefork starts; write \
                             #[prefork] above the runtime's attribute";

/// Remembers what was seen, so that a check before every fork is cheap.
pub(crate) struct ForkCheck {
    /// As long as the next descriptor would get this number, no event loop was made.
    lowest_free_descriptor: Option<i32>,
    warned: bool,
}

impl ForkCheck {
    /// The whole check, before the first fork.
    pub(crate) fn first() -> Result<ForkCheck, Error> {
        let mut check = ForkCheck { lowest_free_descriptor: None, warned: false };
        if !sys::is_main_thread() {
            return Err(Error::UnsafeToFork {
                reason: "prefork was not started from the main thread, and workers would die with the thread that \
                         forks them: start it in main"
                    .to_owned(),
            });
        }
        check.again().map_err(|reason| Error::UnsafeToFork { reason })?;
        Ok(check)
    }

    /// The check before every fork.
    pub(crate) fn again(&mut self) -> Result<Alone, String> {
        let alone = self.no_other_threads()?;
        self.no_event_loop()?;
        Ok(alone)
    }

    fn no_other_threads(&mut self) -> Result<Alone, String> {
        let mut first_seen = None;
        loop {
            match sys::other_threads() {
                Threads::None(alone) => return Ok(alone),
                Threads::Unknown(alone) => {
                    self.warn_that_nobody_knows();
                    return Ok(alone);
                }
                Threads::Others { names, are_ending } => {
                    let patience = if are_ending { PATIENCE_AT_THE_END } else { PATIENCE };
                    if first_seen.get_or_insert_with(Instant::now).elapsed() > patience {
                        return Err(threads_are_alive(&names));
                    }
                    sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn warn_that_nobody_knows(&mut self) {
        if !self.warned {
            self.warned = true;
            report::warn(
                "cannot tell whether other threads are alive (unshare(2) is refused and /proc is not mounted): make \
                 sure that none is started before the workers",
            );
        }
    }

    fn no_event_loop(&mut self) -> Result<(), String> {
        let lowest = sys::lowest_free_descriptor().ok();
        if lowest.is_some() && lowest == self.lowest_free_descriptor {
            return Ok(());
        }
        self.lowest_free_descriptor = lowest;
        match sys::event_loop() {
            None => Ok(()),
            Some(kind) => Err(format!(
                "an event loop ({kind}) is open in this process, and all workers would share it: build the async \
                 runtime {WHERE_INSTEAD}"
            )),
        }
    }
}

fn threads_are_alive(names: &[String]) -> String {
    let (count, are) = match names.len() {
        0 => ("other".to_owned(), "threads are"),
        1 => ("1 other".to_owned(), "thread is"),
        count => (format!("{count} other"), "threads are"),
    };
    let mut listed = names.to_vec();
    listed.sort();
    listed.dedup();
    let listed = if listed.is_empty() { String::new() } else { format!(" ({})", listed.join(", ")) };
    format!(
        "{count} {are} alive in this process{listed}, and a worker would inherit the locks they hold but not the \
         threads: start threads and async runtimes {WHERE_INSTEAD}"
    )
}
