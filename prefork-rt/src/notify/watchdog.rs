//! When to tell the service manager that the supervisor is alive.
//!
//! It must not know how that is found out, nor how it is sent.

use std::time::{Duration, Instant};

use super::variables::{Variables, WATCHDOG_PERIOD, WATCHDOG_PID};
use crate::logging;
use crate::trust;

/// A shorter interval would leave the supervisor no time for anything else.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

pub(super) struct Watchdog {
    /// Half the time after which the service manager takes the supervisor for hung.
    pub(super) every: Duration,
    pub(super) due: Instant,
    /// It is due, and is not sent, because the pool cannot do its work.
    pub(super) withheld: bool,
}

impl Watchdog {
    /// The watchdog, if the variables ask this process for signs of life.
    pub(super) fn new(variables: &Variables) -> Option<Watchdog> {
        let Some(period) = variables.watchdog_period() else {
            if variables.watchdog_pid().is_some() {
                logging::warn(&format!("{WATCHDOG_PID} is ignored: there is no {WATCHDOG_PERIOD}"));
            }
            return None;
        };
        if let Some(why) = trust::names_another(WATCHDOG_PID, variables.watchdog_pid()) {
            logging::warn(&format!(
                "{WATCHDOG_PERIOD} is ignored: {why}; the service manager waits for signs of life that do not come"
            ));
            return None;
        }
        let microseconds = period.to_str().and_then(|period| period.parse().ok()).filter(|&period| period > 0);
        let Some(every) = microseconds.map(|period| (Duration::from_micros(period) / 2).max(SHORTEST_INTERVAL)) else {
            logging::warn(&format!("{WATCHDOG_PERIOD}={period:?} is ignored: it is no number of microseconds"));
            return None;
        };
        // An interval that the clock cannot represent never ends.
        let due = Instant::now().checked_add(every)?;
        Some(Watchdog { every, due, withheld: false })
    }
}
