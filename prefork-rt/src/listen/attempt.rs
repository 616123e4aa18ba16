//! An attempt to bind one place: its purpose, how often it is repeated, and which line tells of it.
//!
//! It must not know how a socket is bound.

use std::fmt;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::held;
use super::label::{Label, Labelled};
use crate::error::Error;
use crate::logging;
use crate::sys::Bound;

/// The length of the queue of connections. The kernel lowers it to net.core.somaxconn.
pub(super) const BACKLOG: i32 = 4096;
/// How often an address in use is tried: a server that was just stopped may hold it for a moment.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// What sockets are bound for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Workers will serve them.
    Service,
    /// The rehearsal of an upgrade: it leaves no file, and changes nothing that other processes share.
    Rehearsal,
    /// `PREFORK=check`, which leaves no trace either. It may run beside the service, so an address in use is noted only.
    Check,
}

impl Purpose {
    pub(super) fn leaves_no_trace(self) -> bool {
        match self {
            Purpose::Service => false,
            Purpose::Rehearsal | Purpose::Check => true,
        }
    }

    /// How often an address in use is tried.
    fn tries(self) -> u32 {
        match self {
            Purpose::Service | Purpose::Rehearsal => TRIES,
            Purpose::Check => 1,
        }
    }
}

/// The result of binding a place. For a check, `None` and a line where another process has the place.
pub(super) fn bound_or_noted<T>(bound: Result<T, Error>, purpose: Purpose, at: Bound<'_>) -> Result<Option<T>, Error> {
    match (bound, purpose) {
        (Ok(bound), _) => Ok(Some(bound)),
        (Err(error), Purpose::Service | Purpose::Rehearsal) => Err(held::explain(error, at)),
        (Err(error), Purpose::Check) => {
            logging::info(&format!("PREFORK=check: {}", held::note(error, at)?));
            Ok(None)
        }
    }
}

/// Binds a place, again and again if it is in use.
pub(super) fn try_again<T>(
    what: &dyn fmt::Display,
    purpose: Purpose,
    bind: &dyn Fn() -> Result<T, Refusal>,
) -> Result<T, Error> {
    let mut tried = 1;
    loop {
        match bind() {
            Ok(bound) => return Ok(bound),
            Err(refusal) => wait_for_next_try(what, purpose, tried, refusal)?,
        }
        tried += 1;
    }
}

/// Waits, if the place is in use and will be tried again. Otherwise this is the error.
fn wait_for_next_try(what: &dyn fmt::Display, purpose: Purpose, tried: u32, refusal: Refusal) -> Result<(), Error> {
    let Refusal { source, advice } = refusal;
    if source.kind() != io::ErrorKind::AddrInUse || tried >= purpose.tries() {
        let advice = advice_on_resources(&source).unwrap_or(advice);
        return Err(Error::Listen { address: what.to_string(), source, advice: advice.to_owned() });
    }
    if tried == 1 {
        logging::warn(&format!("{what} is in use, trying again for 2 s"));
    }
    sleep(BETWEEN_TRIES);
    Ok(())
}

/// What to do where a limit of this process or of the system is reached.
fn advice_on_resources(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE | libc::ENFILE => Some(
            "there are no descriptors left: raise the limit (`ulimit -n`, LimitNOFILE=); reuse_port takes one for each \
             worker and address",
        ),
        libc::ENOMEM | libc::ENOBUFS => {
            Some("there is no memory for it: free some, or raise the limit (the cgroup's memory.max)")
        }
        _ => None,
    }
}

/// Why something cannot be listened on, and what to do.
pub(super) struct Refusal {
    pub(super) source: io::Error,
    pub(super) advice: &'static str,
}

pub(super) fn announce(label: &Label, bound: &dyn fmt::Display) {
    logging::info(&format!("listening on {}", Labelled(label, bound)));
}
