//! The variables of a service manager, as this process was started with them: which of them it trusts, and what they
//! say.
//!
//! It must not know what the service manager is told.

use std::ffi::{OsStr, OsString};

use crate::logging;
use crate::trust;

pub(super) const SOCKET: &str = "NOTIFY_SOCKET";
pub(super) const WATCHDOG_PERIOD: &str = "WATCHDOG_USEC";
pub(super) const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// How many descriptors the service manager stores; set since systemd 254.
pub(super) const STORE: &str = "FDSTORE";

/// The variables by which a service manager addresses the supervisor.
#[derive(Default)]
pub(crate) struct Variables {
    socket: Option<OsString>,
    watchdog_period: Option<OsString>,
    watchdog_pid: Option<OsString>,
    store: Option<OsString>,
}

impl Variables {
    /// The variables, as `find` finds them.
    pub(crate) fn new(find: impl Fn(&str) -> Option<OsString>) -> Variables {
        Variables {
            socket: find(SOCKET),
            watchdog_period: find(WATCHDOG_PERIOD),
            watchdog_pid: find(WATCHDOG_PID),
            store: find(STORE),
        }
    }

    /// The names of all variables that are there, also of empty ones. Workers do not see them.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for (name, value) in self.all() {
            if value.is_some() {
                names.push(name);
            }
        }
        names
    }

    /// The variables that are set and not trusted, because this program has more rights than its caller.
    pub(crate) fn distrusted(&self) -> Vec<&'static str> {
        match &self.socket {
            Some(socket) if !socket.is_empty() && !trust::in_manager(socket) => self.set(),
            Some(_) if !trust::in_sockets() && not_empty(&self.store).is_some() => vec![STORE],
            _ => Vec::new(),
        }
    }

    /// The variables that a start does not use when it tells a service manager nothing, if any are set.
    pub(crate) fn unused(&self) -> Option<String> {
        let set = self.set();
        (!set.is_empty() && self.distrusted().is_empty()).then(|| set.join(", "))
    }

    /// The names of the variables that have a value.
    pub(super) fn set(&self) -> Vec<&'static str> {
        let mut set = Vec::new();
        for (name, value) in self.all() {
            if not_empty(value).is_some() {
                set.push(name);
            }
        }
        set
    }

    /// The socket from which the service manager reads.
    pub(super) fn socket(&self) -> Option<&OsStr> {
        not_empty(&self.socket)
    }

    /// The time after which the service manager takes the supervisor for hung.
    pub(super) fn watchdog_period(&self) -> Option<&OsStr> {
        not_empty(&self.watchdog_period)
    }

    /// The process that must give signs of life.
    pub(super) fn watchdog_pid(&self) -> Option<&OsStr> {
        not_empty(&self.watchdog_pid)
    }

    /// How many descriptors the service manager stores, if it stores any. None are stored where this program does not
    /// trust sockets from the environment, because it would refuse them at the next start.
    pub(super) fn most_stored(&self) -> Option<usize> {
        let most = not_empty(&self.store).filter(|_| trust::in_sockets())?;
        let Some(number) = most.to_str().and_then(|most| most.parse().ok()) else {
            logging::warn(&format!(
                "{STORE}={most:?} is ignored: it is no number of descriptors; no listener is stored"
            ));
            return None;
        };
        Some(number).filter(|&number| number > 0)
    }

    fn all(&self) -> [(&'static str, &Option<OsString>); 4] {
        [
            (SOCKET, &self.socket),
            (WATCHDOG_PERIOD, &self.watchdog_period),
            (WATCHDOG_PID, &self.watchdog_pid),
            (STORE, &self.store),
        ]
    }
}

fn not_empty(value: &Option<OsString>) -> Option<&OsStr> {
    value.as_deref().filter(|value| !value.is_empty())
}
