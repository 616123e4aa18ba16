use std::time::Duration;

use super::*;

/// A builder that ignores the variables that the tests themselves run with.
fn prefork() -> Prefork {
    let (code, environment) = Default::default();
    let inheritance = Inheritance::of_this_process();
    Prefork { code, environment, inheritance, needs: Vec::new(), error: None, signals: None }
}

#[test]
fn the_first_bad_value_is_kept_with_the_option_s_name() {
    const TOO_SHORT: Duration = Duration::from_millis(99);
    for (bad, says) in [
        (prefork().restart_window(Duration::ZERO), "restart_window: 0s "),
        (prefork().restart("never"), "restart: \"never\" "),
        (prefork().ready_timeout(Some(Duration::ZERO)), "ready_timeout: 0s "),
        (prefork().heartbeat_timeout(TOO_SHORT).max_memory(1), "heartbeat_timeout: 99ms "),
        (prefork().heartbeat_timeout(Duration::MAX), "heartbeat_timeout: "),
        (prefork().max_lifetime("0s"), "max_lifetime: 0s "),
        (prefork().max_memory(512), "max_memory: 512 is 512 bytes"),
        (prefork().max_memory(Some(0)), "max_memory: 0 is 0 bytes"),
        (prefork().reload("soft"), "reload: \"soft\" "),
        (prefork().reload_width(0), "reload_width: 0 would replace no worker"),
        (prefork().reload_width("200%"), "reload_width: 200% is more than all workers"),
    ] {
        let error = bad.error.expect(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}
