//! Whether forking is safe now, and the text that says why not.
//!
//! A worker has only the thread that forked: a lock that another thread held is never released in it. An event loop or a
//! connection that was made before the fork is shared by all workers. So nothing is forked while any of these exists.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::connections::may_be_shared;
use crate::error::Error;
use crate::logging;
use crate::sys::{self, Connection, SingleThread, Threads};

/// How long to wait for other threads to go: a thread that was joined may be visible for a moment longer.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long to wait for threads that are known to be ending: a loaded machine may take this long.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(10);

/// Where to start threads and open connections instead, for all advice.
const WHERE_INSTEAD: &str = "in main's body, which runs in the workers, not in preload or before prefork starts";
const WHERE_THE_ATTRIBUTE: &str = "write #[prefork] above the runtime's attribute";

/// The name of jemalloc's background threads.
const JEMALLOCS: &str = "jemalloc_bg_thd";

/// Remembers what was seen, so that a check before every fork is cheap.
pub(crate) struct ForkCheck {
    /// While the lowest free descriptor has this number, no event loop and no connection was opened.
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
    pub(crate) fn again(&mut self) -> Result<SingleThread, String> {
        let single_thread = self.no_other_threads()?;
        self.nothing_to_share(&single_thread)?;
        Ok(single_thread)
    }

    fn no_other_threads(&mut self) -> Result<SingleThread, String> {
        let mut first_seen = None;
        loop {
            match sys::other_threads() {
                Threads::None(single_thread) => return Ok(single_thread),
                Threads::Unknown(single_thread) => {
                    self.warn_that_threads_are_unknown();
                    return Ok(single_thread);
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

    fn warn_that_threads_are_unknown(&mut self) {
        if !self.warned {
            self.warned = true;
            logging::warn(
                "cannot tell whether other threads are alive (unshare(2) is refused and /proc is not mounted): make \
                 sure that none is started before the workers",
            );
        }
    }

    fn nothing_to_share(&mut self, single_thread: &SingleThread) -> Result<(), String> {
        let lowest = sys::lowest_free_descriptor().ok();
        if lowest.is_some() && lowest == self.lowest_free_descriptor {
            return Ok(());
        }
        self.lowest_free_descriptor = lowest;
        let descriptors = sys::descriptors();
        if let Some(kind) = sys::event_loop(&descriptors) {
            return Err(format!(
                "an event loop ({kind}) is open in this process, and all workers would share it: build the async \
                 runtime {WHERE_INSTEAD}; {WHERE_THE_ATTRIBUTE}"
            ));
        }
        match sys::connections(&descriptors, single_thread).iter().find(|connection| !may_be_shared(connection)) {
            None => Ok(()),
            Some(Connection { descriptor, peer, .. }) => Err(format!(
                "a connection to {peer} (descriptor {descriptor}) is open in this process, and all workers would share \
                 it, so that answers would reach the wrong worker: open it {WHERE_INSTEAD}; if workers may have it in \
                 common (a logger's, say), call prefork_rt::share_connection before prefork starts"
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
    let advice =
        if names.iter().any(|name| name == JEMALLOCS) { advice_on_jemalloc(names) } else { advice_on_threads() };
    format!(
        "{count} {are} alive in this process{listed}, and a worker would inherit the locks they hold but not the \
         threads: {advice}"
    )
}

fn advice_on_threads() -> String {
    format!("start threads and async runtimes {WHERE_INSTEAD}; {WHERE_THE_ATTRIBUTE}")
}

/// The advice for threads that an option of the allocator started, so that no code of the program can be moved.
fn advice_on_jemalloc(names: &[String]) -> String {
    let only = format!(
        "{JEMALLOCS} is jemalloc's, started by its option background_thread: set background_thread:false (in MALLOC_CONF, \
         or _RJEM_MALLOC_CONF for tikv-jemallocator), and turn it on by mallctl in main's body"
    );
    match names.iter().all(|name| name == JEMALLOCS) {
        true => only,
        false => format!("{only}; {}", advice_on_threads()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_the_threads_that_there_are() {
        let advice = |names: &[&str]| {
            let reason = threads_are_alive(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
            (reason.contains("background_thread:false"), reason.contains("start threads and async runtimes in main"))
        };
        assert_eq!(advice(&["tokio-runtime-w"]), (false, true));
        assert_eq!(advice(&[]), (false, true));
        assert_eq!(advice(&["jemalloc_bg_thd", "jemalloc_bg_thd"]), (true, false));
        assert_eq!(advice(&["jemalloc_bg_thd", "early-bird"]), (true, true));
    }
}
