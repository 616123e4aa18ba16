//! Which of a service manager's variables are there, which of them this program trusts, and how many descriptors it stores.
//!
//! It must not know what the service manager is told.

use std::env;

use crate::logging;
use crate::trust;

/// The variables by which a service manager addresses the supervisor. Workers do not see them.
pub(crate) const VARIABLES: [&str; 4] = [SOCKET, WATCHDOG_PERIOD, WATCHDOG_PID, STORE];

pub(super) const SOCKET: &str = "NOTIFY_SOCKET";
pub(super) const WATCHDOG_PERIOD: &str = "WATCHDOG_USEC";
pub(super) const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// How many descriptors the service manager stores; set since systemd 254.
pub(super) const STORE: &str = "FDSTORE";

/// How many descriptors the service manager stores, if it stores any. None are stored where this program does not trust
/// sockets from the environment, because it would refuse them at the next start.
pub(crate) fn most_stored() -> Option<usize> {
    let most = env::var_os(STORE).filter(|most| !most.is_empty() && trust::in_sockets())?;
    let Some(number) = most.to_str().and_then(|most| most.parse().ok()) else {
        logging::warn(&format!("{STORE}={most:?} is ignored: it is no number of descriptors; no listener is stored"));
        return None;
    };
    Some(number).filter(|&number| number > 0)
}

/// The variables of a service manager that are set.
pub(super) fn present() -> Vec<&'static str> {
    VARIABLES.into_iter().filter(|name| env::var_os(name).is_some_and(|value| !value.is_empty())).collect()
}

/// The variables that are set and not trusted, because this program has more rights than its caller.
pub(crate) fn distrusted() -> Vec<&'static str> {
    match env::var_os(SOCKET) {
        Some(socket) if !socket.is_empty() && !trust::in_manager(&socket) => present(),
        Some(_) if !trust::in_sockets() => present().into_iter().filter(|&name| name == STORE).collect(),
        _ => Vec::new(),
    }
}

/// The variables that a start does not use when it tells a service manager nothing, if any are set.
pub(crate) fn unused() -> Option<String> {
    let present = present();
    (!present.is_empty() && distrusted().is_empty()).then(|| present.join(", "))
}
