//! What was given for each option, the defaults, and what wins over what.
//!
//! It must not know where a value was written, but for what its warnings name.

use std::time::Duration;

use crate::account::{Account, Overruled};
use crate::cpu;
use crate::grammar::{Backoff, Entry, Reload, Restart};

/// What was given for each option, in the code or in the environment.
#[derive(Default)]
pub(crate) struct Values {
    pub(crate) workers: Option<Option<usize>>,
    pub(crate) max_restarts: Option<Option<usize>>,
    pub(crate) restart_window: Option<Option<Duration>>,
    pub(crate) restart: Option<Restart>,
    pub(crate) graceful_timeout: Option<Duration>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) listen: Option<Vec<Entry>>,
    pub(crate) reuse_port: Option<bool>,
    pub(crate) ready_timeout: Option<Option<Duration>>,
    pub(crate) heartbeat_timeout: Option<Option<Duration>>,
    pub(crate) max_lifetime: Option<Option<Duration>>,
    pub(crate) max_memory: Option<Option<u64>>,
    pub(crate) reload: Option<Reload>,
    pub(crate) user: Option<Option<String>>,
    pub(crate) group: Option<Option<String>>,
    pub(crate) no_new_privs: Option<bool>,
}

/// The values to run with.
pub(crate) struct Settings {
    pub(crate) workers: usize,
    /// Why that many.
    pub(crate) workers_because: String,
    pub(crate) max_restarts: Option<usize>,
    pub(crate) restart_window: Option<Duration>,
    pub(crate) restart: Restart,
    pub(crate) graceful_timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) listen: Vec<Entry>,
    pub(crate) reuse_port: bool,
    pub(crate) ready_timeout: Option<Duration>,
    pub(crate) heartbeat_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_memory: Option<u64>,
    pub(crate) reload: Reload,
    pub(crate) user: Option<Account>,
    pub(crate) group: Option<Account>,
    pub(crate) no_new_privs: bool,
    /// What the code says of the last two, and the environment says otherwise.
    pub(crate) overruled: Vec<Overruled>,
}

/// The default is this, or [`RESTARTS_PER_WORKER`] for each worker, where that is more.
const LEAST_MAX_RESTARTS: usize = 100;
pub(crate) const RESTARTS_PER_WORKER: usize = 10;
const DEFAULT_GRACEFUL_TIMEOUT: Duration = Duration::from_secs(25);
const DEFAULT_BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(1) };

impl Settings {
    /// The environment's values, else the code's, else the defaults; and a warning for what is ignored.
    pub(crate) fn new(environment: Values, code: Values, warnings: &mut Vec<String>) -> Settings {
        let (workers, workers_because) = match (environment.workers, code.workers) {
            (Some(Some(workers)), _) => (workers, format!("PREFORK_WORKERS={workers}")),
            (None, Some(Some(workers))) => (workers, format!("workers = {workers}")),
            _ => cpu::count_and_why(),
        };
        let max_restarts = environment.max_restarts.or(code.max_restarts);
        let graceful_timeout = environment.graceful_timeout.or(code.graceful_timeout);
        let overruled = [
            Overruled::new("user", &environment.user, &code.user),
            Overruled::new("group", &environment.group, &code.group),
        ];
        Settings {
            workers,
            workers_because,
            max_restarts: max_restarts.unwrap_or(Some(default_max_restarts(workers))),
            graceful_timeout: graceful_timeout.unwrap_or(DEFAULT_GRACEFUL_TIMEOUT),
            restart_window: environment.restart_window.or(code.restart_window).flatten(),
            restart: environment.restart.or(code.restart).unwrap_or_default(),
            backoff: environment.backoff.or(code.backoff).unwrap_or(DEFAULT_BACKOFF),
            listen: environment.listen.or(code.listen).unwrap_or_default(),
            reuse_port: environment.reuse_port.or(code.reuse_port).unwrap_or_default(),
            ready_timeout: ready_timeout(environment.ready_timeout, code.ready_timeout.flatten(), warnings),
            heartbeat_timeout: environment.heartbeat_timeout.or(code.heartbeat_timeout).flatten(),
            max_lifetime: environment.max_lifetime.or(code.max_lifetime).flatten(),
            max_memory: environment.max_memory.or(code.max_memory).flatten(),
            reload: environment.reload.or(code.reload).unwrap_or_default(),
            user: Account::new("user", environment.user, code.user),
            group: Account::new("group", environment.group, code.group),
            no_new_privs: no_new_privs(environment.no_new_privs, code.no_new_privs, warnings),
            overruled: overruled.into_iter().flatten().collect(),
        }
    }
}

fn default_max_restarts(workers: usize) -> usize {
    workers.saturating_mul(RESTARTS_PER_WORKER).max(LEAST_MAX_RESTARTS)
}

/// The environment wins here too, but what it takes away is said.
fn no_new_privs(environment: Option<bool>, code: Option<bool>, warnings: &mut Vec<String>) -> bool {
    if (environment, code) == (Some(false), Some(true)) {
        warnings.push(
            "workers may gain rights by set-user-ID programs: PREFORK_NO_NEW_PRIVS=false in the environment overrules \
             no_new_privs = true in the code; unset it, unless that is wanted"
                .to_owned(),
        );
    }
    environment.or(code).unwrap_or_default()
}

/// The environment changes a timeout but introduces none: a program that never announces readiness would never be
/// ready.
fn ready_timeout(
    environment: Option<Option<Duration>>,
    code: Option<Duration>,
    warnings: &mut Vec<String>,
) -> Option<Duration> {
    let timeout = environment.unwrap_or(code);
    if code.is_none() && timeout.is_some() {
        warnings.push(
            "environment variable PREFORK_READY_TIMEOUT is ignored: this program does not announce readiness, because \
             its code sets no ready_timeout"
                .to_owned(),
        );
        return None;
    }
    timeout
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Prefork};
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Without the variables that the tests themselves run with.
    fn prefork() -> Prefork {
        let (code, environment) = Default::default();
        Prefork { code, environment, needs: Vec::new(), error: None, signals: None }
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let mut environment = Environment::default();
        for (option, value) in variables {
            environment.read_one(&format!("PREFORK_{option}"), value).expect(option);
        }
        environment
    }

    fn settings(variables: &[(&str, &str)], code: Prefork) -> (Settings, Vec<String>) {
        assert!(code.error.is_none(), "{:?}", code.error);
        let mut environment = environment(variables);
        let settings = Settings::new(environment.values, code.code, &mut environment.warnings);
        (settings, environment.warnings)
    }

    /// The options of the restart policy and of a worker's life, in the order of [`Settings`].
    #[derive(Debug, PartialEq)]
    struct Life(Option<Duration>, Restart, Option<Duration>, Option<Duration>, Option<Duration>, Option<u64>, Reload);

    const DEFAULT: Life = Life(None, Restart::OnFailure, None, None, None, None, Reload::Overlap);

    fn life(settings: &Settings) -> Life {
        let Settings { restart_window, restart, ready_timeout, heartbeat_timeout, max_lifetime, .. } = *settings;
        Life(
            restart_window,
            restart,
            ready_timeout,
            heartbeat_timeout,
            max_lifetime,
            settings.max_memory,
            settings.reload,
        )
    }

    fn everything() -> Prefork {
        prefork()
            .restart_window("1m")
            .restart("always")
            .ready_timeout(2 * MINUTE)
            .heartbeat_timeout(Some(3 * MINUTE))
            .max_lifetime("4m".to_owned())
            .max_memory(5_000_000)
            .reload(Reload::Exclusive)
    }

    const EVERYTHING: Life = Life(
        Some(MINUTE),
        Restart::Always,
        Some(Duration::from_secs(120)),
        Some(Duration::from_secs(180)),
        Some(Duration::from_secs(240)),
        Some(5_000_000),
        Reload::Exclusive,
    );

    #[test]
    fn a_worker_s_life_has_no_bounds_by_default() {
        assert_eq!(life(&settings(&[], prefork()).0), DEFAULT);
        let nothing = prefork()
            .restart_window(None)
            .restart(Restart::OnFailure)
            .ready_timeout("none")
            .heartbeat_timeout(None)
            .max_lifetime("none")
            .max_memory(None)
            .reload("overlap");
        assert_eq!(life(&settings(&[], nothing).0), DEFAULT);
    }

    #[test]
    fn the_code_says_how_a_worker_lives() {
        assert_eq!(life(&settings(&[], everything()).0), EVERYTHING);
        let same = prefork()
            .restart_window(Some(MINUTE))
            .restart(Restart::Always)
            .ready_timeout("120s")
            .heartbeat_timeout(3 * MINUTE)
            .max_lifetime("240000ms")
            .max_memory("5000000")
            .reload("exclusive");
        assert_eq!(life(&settings(&[], same).0), EVERYTHING);
        assert_eq!(settings(&[], prefork().max_memory("2GiB")).0.max_memory, Some(2 << 30));
        assert_eq!(settings(&[], prefork().max_memory(Some(2 << 30))).0.max_memory, Some(2 << 30));
    }

    #[test]
    fn the_environment_says_better_how_a_worker_lives() {
        let variables = [
            ("RESTART_WINDOW", "1m"),
            ("RESTART", "always"),
            ("READY_TIMEOUT", "2m"),
            ("HEARTBEAT_TIMEOUT", "3m"),
            ("MAX_LIFETIME", "4m"),
            ("MAX_MEMORY", "5000000"),
            ("RELOAD", "exclusive"),
        ];
        assert_eq!(life(&settings(&variables, prefork().ready_timeout("1h")).0), EVERYTHING);
        let defaults = [
            ("RESTART_WINDOW", "none"),
            ("RESTART", "on-failure"),
            ("READY_TIMEOUT", "none"),
            ("HEARTBEAT_TIMEOUT", "none"),
            ("MAX_LIFETIME", "none"),
            ("MAX_MEMORY", "none"),
            ("RELOAD", "overlap"),
        ];
        let (settings, warnings) = settings(&defaults, everything());
        assert_eq!(life(&settings), DEFAULT);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn many_workers_have_more_restarts_by_default() {
        let restarts = |variables: &[(&str, &str)], code| settings(variables, code).0.max_restarts;
        for (workers, max_restarts) in [(1, 100), (10, 100), (11, 110), (128, 1280)] {
            assert_eq!(restarts(&[], prefork().workers(workers)), Some(max_restarts));
            let text = workers.to_string();
            assert_eq!(restarts(&[("WORKERS", &text)], prefork().workers(2)), Some(max_restarts));
        }
        assert_eq!(restarts(&[], prefork().workers(128).max_restarts(100)), Some(100), "what is given is taken");
        assert_eq!(restarts(&[("MAX_RESTARTS", "7")], prefork().workers(128)), Some(7));
        assert_eq!(restarts(&[], prefork().workers(128).max_restarts("unlimited")), None);
    }

    #[test]
    fn a_user_that_is_refused_is_named_with_where_it_was_given() {
        let code = || prefork().user("app").group(Some("7"));
        let own = settings(&[], code()).0;
        let (user, group) = (own.user.expect("a user"), own.group.expect("a group"));
        assert_eq!((user.name.as_str(), user.number(), group.number()), ("app", None, Some(7)));
        assert_eq!(user.refuse("why".to_owned()).to_string(), "user: why");
        let theirs = settings(&[("USER", "web"), ("GROUP", "none")], code()).0;
        let why = theirs.user.expect("a user").refuse("why".to_owned()).to_string();
        assert_eq!(why, "environment variable PREFORK_USER: why");
        assert!(theirs.group.is_none());
        assert!(settings(&[], prefork().user(None).group("none")).0.user.is_none());
        assert_eq!(prefork().group("a b").error.expect("an error").to_string().find("group: "), Some(0));
    }

    #[test]
    fn a_protection_that_the_environment_takes_away_is_named() {
        let (settings_of, warnings) = settings(&[("NO_NEW_PRIVS", "false")], prefork().no_new_privs(true));
        assert!(!settings_of.no_new_privs);
        assert!(matches!(&warnings[..], [one] if one.contains("PREFORK_NO_NEW_PRIVS=false")), "{warnings:?}");
        for (variables, code) in
            [(&[("NO_NEW_PRIVS", "true")][..], false), (&[("NO_NEW_PRIVS", "false")], false), (&[], true)]
        {
            assert_eq!(settings(variables, prefork().no_new_privs(code)).1, [""; 0], "{variables:?} over {code}");
        }
    }

    #[test]
    fn the_environment_introduces_no_ready_timeout() {
        for code in [prefork(), prefork().ready_timeout(None)] {
            let (settings, warnings) = settings(&[("READY_TIMEOUT", "30s")], code);
            assert_eq!(settings.ready_timeout, None);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains("PREFORK_READY_TIMEOUT is ignored"), "{warnings:?}");
        }
        assert_eq!(settings(&[("READY_TIMEOUT", "none")], prefork()).1, [""; 0]);
        assert!(environment(&[]).read_one("PREFORK_READY_TIMEOUT", "0s").is_err());
    }
}
