//! Whether forking is safe now, and the text that says why not.
//!
//! A worker has only the thread that forked: a lock that another thread held is never released in it. An event loop or a
//! connection that was made before the fork is shared by all workers. So nothing is forked while any of these exists.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::connections::may_be_shared;
use crate::error::Error;
use crate::logging;
use crate::sys::{self, Connection, Interpreter, SingleThread, Thread, Threads};

/// How long to wait for other threads to go: a thread that was joined may be visible for a moment longer.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long to wait for threads that are known to be ending: a loaded machine may take this long.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(10);

/// Where to start threads and open connections instead, for all advice.
const WHERE_INSTEAD: &str = "in main's body, which runs in the workers, not in preload or before prefork starts";
const WHERE_THE_ATTRIBUTE: &str = "write #[prefork] above the runtime's attribute";

/// The name of jemalloc's background threads.
const JEMALLOCS: &str = "jemalloc_bg_thd";

/// Why forking is unsafe now.
pub(crate) enum Unsafe {
    /// These other threads are alive; none where their names cannot be read.
    Threads(Vec<Thread>),
    /// The workers would share something.
    Shared(String),
}

/// Remembers what was seen, so that a check before every fork is cheap.
pub(crate) struct ForkCheck {
    /// While the lowest free descriptor has this number, no event loop and no connection was opened.
    lowest_free_descriptor: Option<i32>,
    warned: bool,
    /// It knows the names of its threads, which the kernel may not know.
    python: Option<Interpreter>,
}

impl ForkCheck {
    /// The whole check, before the first fork.
    pub(crate) fn first(python: Option<Interpreter>) -> Result<ForkCheck, Error> {
        let mut check = ForkCheck { lowest_free_descriptor: None, warned: false, python };
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

    /// The check before every fork. The error says what was found, and what to do about it.
    pub(crate) fn again(&mut self) -> Result<SingleThread, String> {
        self.look().map_err(|why| self.explain(why))
    }

    /// Says that the supervisor alone has opened descriptors since the last check, which has looked at all others.
    pub(crate) fn expect_own_descriptors(&mut self) {
        self.lowest_free_descriptor = sys::lowest_free_descriptor().ok();
    }

    /// The check alone, which runs no Python code.
    pub(crate) fn look(&mut self) -> Result<SingleThread, Unsafe> {
        let single_thread = self.no_other_threads()?;
        self.nothing_to_share(&single_thread)?;
        Ok(single_thread)
    }

    /// Names what was found, for which it may run Python code.
    pub(crate) fn explain(&self, why: Unsafe) -> String {
        match why {
            Unsafe::Threads(threads) => {
                let of_python = self.python.map(Interpreter::thread_names);
                threads_are_alive(&threads, of_python.as_deref())
            }
            Unsafe::Shared(reason) => reason,
        }
    }

    fn no_other_threads(&mut self) -> Result<SingleThread, Unsafe> {
        let mut first_seen = None;
        loop {
            match sys::other_threads() {
                Threads::None(single_thread) => return Ok(single_thread),
                Threads::Unknown(single_thread) => {
                    self.warn_that_threads_are_unknown();
                    return Ok(single_thread);
                }
                Threads::Others { threads, are_ending } => {
                    let patience = if are_ending { PATIENCE_AT_THE_END } else { PATIENCE };
                    if first_seen.get_or_insert_with(Instant::now).elapsed() > patience {
                        return Err(Unsafe::Threads(threads));
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

    fn nothing_to_share(&mut self, single_thread: &SingleThread) -> Result<(), Unsafe> {
        let lowest = sys::lowest_free_descriptor().ok();
        if lowest.is_some() && lowest == self.lowest_free_descriptor {
            return Ok(());
        }
        self.lowest_free_descriptor = lowest;
        let descriptors = sys::descriptors();
        if let Some(kind) = sys::event_loop(&descriptors) {
            return Err(Unsafe::Shared(format!(
                "an event loop ({kind}) is open in this process, and all workers would share it: build the async \
                 runtime {WHERE_INSTEAD}; {WHERE_THE_ATTRIBUTE}"
            )));
        }
        match sys::connections(&descriptors, single_thread).iter().find(|connection| !may_be_shared(connection)) {
            None => Ok(()),
            Some(Connection { descriptor, peer, .. }) => Err(Unsafe::Shared(format!(
                "a connection to {peer} (descriptor {descriptor}) is open in this process, and all workers would share \
                 it, so that answers would reach the wrong worker: open it {WHERE_INSTEAD}; if workers may have it in \
                 common (a logger's, say), call prefork_rt::share_connection before prefork starts"
            ))),
        }
    }
}

/// `of_python`: the threads that Python knows, by their ids, where there is an interpreter.
fn threads_are_alive(threads: &[Thread], of_python: Option<&[(u32, String)]>) -> String {
    let (count, are) = match threads.len() {
        0 => ("other".to_owned(), "threads are"),
        1 => ("1 other".to_owned(), "thread is"),
        count => (format!("{count} other"), "threads are"),
    };
    let (mut listed, mut advice) = (Vec::new(), Vec::new());
    for thread in threads {
        let name = of_python.unwrap_or_default().iter().find(|(id, _)| *id == thread.id).map(|(_, name)| name);
        let shown = name.map_or_else(|| thread.name.clone(), |name| format!("the Python thread \"{name}\""));
        if let Err(index) = listed.binary_search(&shown) {
            listed.insert(index, shown);
        }
        advice.push(match name {
            Some(_) => Advice::Python,
            None if thread.name == JEMALLOCS => Advice::Jemalloc,
            None if of_python.is_some() => Advice::OtherBesidePython,
            None => Advice::Other,
        });
    }
    if advice.is_empty() {
        advice.push(Advice::Other);
    }
    let listed = if listed.is_empty() { String::new() } else { format!(" ({})", listed.join(", ")) };
    let mut texts = Vec::new();
    for one in Advice::ALL {
        if advice.contains(&one) {
            texts.push(one.text());
        }
    }
    let advice = texts.join("; ");
    format!(
        "{count} {are} alive in this process{listed}, and a worker would inherit the locks they hold but not the \
         threads: {advice}"
    )
}

/// What to do about a thread, by who has started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advice {
    /// An option of the allocator, so that no code of the program can be moved.
    Jemalloc,
    Python,
    Other,
    /// The program, or a library that Python has imported.
    OtherBesidePython,
}

impl Advice {
    /// In the order in which they are given.
    const ALL: [Advice; 4] = [Advice::Jemalloc, Advice::Python, Advice::Other, Advice::OtherBesidePython];

    fn text(self) -> String {
        match self {
            Advice::Jemalloc => format!(
                "{JEMALLOCS} is jemalloc's, started by its option background_thread: set background_thread:false (in \
                 MALLOC_CONF, or _RJEM_MALLOC_CONF for tikv-jemallocator), and turn it on by mallctl in main's body"
            ),
            Advice::Python => format!(
                "start Python's threads {WHERE_INSTEAD}; or let each worker start them by itself, in a function that the \
                 module gives to os.register_at_fork(after_in_child=...)"
            ),
            Advice::Other => format!("start threads and async runtimes {WHERE_INSTEAD}; {WHERE_THE_ATTRIBUTE}"),
            Advice::OtherBesidePython => format!(
                "{}; a library that Python has imported may have started it: numpy's OpenBLAS starts none with \
                 OPENBLAS_NUM_THREADS=1",
                Advice::Other.text()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(names: &[&str]) -> Vec<Thread> {
        (10..).zip(names).map(|(id, &name)| Thread { id, name: name.to_owned() }).collect()
    }

    #[test]
    fn advice_fits_the_threads_that_there_are() {
        let advice = |names: &[&str]| {
            let reason = threads_are_alive(&threads(names), None);
            (reason.contains("background_thread:false"), reason.contains("start threads and async runtimes in main"))
        };
        assert_eq!(advice(&["tokio-runtime-w"]), (false, true));
        assert_eq!(advice(&[]), (false, true));
        assert_eq!(advice(&["jemalloc_bg_thd", "jemalloc_bg_thd"]), (true, false));
        assert_eq!(advice(&["jemalloc_bg_thd", "early-bird"]), (true, true));
    }

    #[test]
    fn a_thread_of_python_is_named_as_python_names_it() {
        let known = [(11, "Thread-1 (refresh)".to_owned()), (99, "MainThread".to_owned())];
        let says = |names: &[&str], texts: [&str; 3]| {
            let reason = threads_are_alive(&threads(names), Some(&known));
            texts.map(|text| reason.contains(text))
        };
        let texts = ["the Python thread \"Thread-1 (refresh)\"", "os.register_at_fork", "OPENBLAS_NUM_THREADS=1"];
        assert_eq!(says(&["app", "app"], texts), [true, true, true]);
        assert_eq!(says(&["app"], texts), [false, false, true]);
        let reason = threads_are_alive(&threads(&["app", "app"])[1..], Some(&known));
        assert!(!reason.contains("OPENBLAS") && !reason.contains("(app"), "{reason}");
    }
}
