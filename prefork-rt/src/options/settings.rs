//! What was given for each option, and what wins over what: the environment's value, the code's, the default in the
//! option's row (`grammar/options.rs`).
//!
//! It must not know where a value was written, but for what its warnings name.

use std::os::unix::net::SocketAddr;
use std::time::Duration;

use crate::account::{Account, Overruled};
use crate::cpu;
use crate::error::Error;
use crate::grammar::{self, Backoff, Entry, Place, Reload, Restart, for_each_option};

/// The default of `max_restarts` is this for each worker, where that is more than the default in the table.
pub(crate) const RESTARTS_PER_WORKER: usize = 10;

macro_rules! make_values_and_settings {
    ($(
        #[doc = $doc:literal]
        $option:ident: $type:ty {
            takes: $takes:literal,
            example: $example:literal,
            default: $default:literal $($more:literal)?,
            read: $read:ident,
            literal: $literal:ident$(($integer:literal))?,
            without_workers: $without_workers:literal,
            chapter: $chapter:literal,
        }
    )+ only the attribute $($only:tt)*) => {
        /// What was given for each option, in the code or in the environment.
        #[derive(Default)]
        pub(crate) struct Values {
            $(pub(super) $option: Option<$type>,)+
        }

        /// The values to run with.
        pub(crate) struct Settings {
            $(#[doc = $doc] pub(crate) $option: $type,)+
            /// Why there are that many workers.
            pub(crate) workers_because: String,
            /// The options whose value is the environment's.
            from_environment: Vec<&'static str>,
            /// What the code says of `user` and `group`, and the environment says otherwise.
            pub(crate) overruled: Vec<Overruled>,
        }

        impl Settings {
            /// The environment's values, else the code's, else the defaults.
            fn choose(environment: Values, code: Values) -> Settings {
                let mut from_environment = Vec::new();
                $(if environment.$option.is_some() {
                    from_environment.push(stringify!($option));
                })+
                Settings {
                    $($option: environment.$option.or(code.$option).unwrap_or_else(|| {
                        grammar::$read(concat!($default)).expect("the defaults are good values, as a test shows")
                    }),)+
                    workers_because: String::new(),
                    from_environment,
                    overruled: Vec::new(),
                }
            }
        }

        /// The options that have a variable.
        pub(super) const ROWS: &[Row] = &[$(Row {
            option: stringify!($option),
            without_workers: $without_workers,
            read: |values, text| grammar::$read(text).map(|value| values.$option = Some(value)),
        }),+];
    };
}
for_each_option!(make_values_and_settings);

/// What the environment's reader knows of an option.
pub(super) struct Row {
    pub(super) option: &'static str,
    /// Whether `PREFORK=off` uses it.
    pub(super) without_workers: bool,
    pub(super) read: fn(&mut Values, &str) -> Result<(), String>,
}

impl Settings {
    /// The environment's values, else the code's, else the defaults; and a warning for what is ignored.
    pub(crate) fn new(mut environment: Values, code: Values, warnings: &mut Vec<String>) -> Settings {
        warn_of_a_lost_protection(&environment, &code, warnings);
        forget_an_introduced_ready_timeout(&mut environment, &code, warnings);
        let (workers, workers_because) = match (environment.workers, code.workers) {
            (Some(workers @ 1..), _) => (workers, format!("PREFORK_WORKERS={workers}")),
            (None, Some(workers @ 1..)) => (workers, format!("workers = {workers}")),
            _ => cpu::count_and_why(),
        };
        let restarts_are_given = environment.max_restarts.or(code.max_restarts).is_some();
        let overruled = [
            Overruled::new("user", &environment.user, &code.user),
            Overruled::new("group", &environment.group, &code.group),
        ];
        let mut settings = Settings::choose(environment, code);
        settings.workers = workers;
        settings.workers_because = workers_because;
        settings.overruled = overruled.into_iter().flatten().collect();
        if !restarts_are_given {
            let enough = workers.saturating_mul(RESTARTS_PER_WORKER);
            settings.max_restarts = settings.max_restarts.map(|least| least.max(enough));
        }
        settings
    }

    /// The user that workers become.
    pub(crate) fn user_account(&self) -> Option<Account> {
        self.account("user", self.user.as_deref())
    }

    /// The group that workers become.
    pub(crate) fn group_account(&self) -> Option<Account> {
        self.account("group", self.group.as_deref())
    }

    /// Finds a path that a socket's address has no room for on this system.
    pub(crate) fn check_paths(&self) -> Result<(), Error> {
        let paths = self.listen.iter().filter_map(|entry| match &entry.place {
            Place::Unix(unix) => Some(&unix.path),
            Place::Tcp(_) | Place::Udp(_) => None,
        });
        for path in paths {
            if let Err(error) = SocketAddr::from_pathname(path) {
                let reason = format!("{path:?} has {} bytes ({error}): choose a shorter one", path.len());
                return Err(self.refuse("listen", reason));
            }
        }
        Ok(())
    }

    /// Why the option's value cannot be used, with the name of what gave it.
    fn refuse(&self, option: &'static str, reason: String) -> Error {
        match self.from_environment.contains(&option) {
            true => Error::Environment { variable: format!("PREFORK_{}", option.to_uppercase()), reason },
            false => Error::Option { name: option, reason },
        }
    }

    fn account(&self, option: &'static str, name: Option<&str>) -> Option<Account> {
        Some(Account::new(option, name?, self.from_environment.contains(&option)))
    }
}

/// The environment wins here too, but the log says what it takes away.
fn warn_of_a_lost_protection(environment: &Values, code: &Values, warnings: &mut Vec<String>) {
    if (environment.no_new_privs, code.no_new_privs) == (Some(false), Some(true)) {
        warnings.push(
            "workers may gain rights by set-user-ID programs: PREFORK_NO_NEW_PRIVS=false in the environment overrules \
             no_new_privs = true in the code; unset it, unless that is wanted"
                .to_owned(),
        );
    }
}

/// The environment changes a timeout but introduces none: a program that never announces readiness would never be
/// ready.
fn forget_an_introduced_ready_timeout(environment: &mut Values, code: &Values, warnings: &mut Vec<String>) {
    if code.ready_timeout.flatten().is_none() && environment.ready_timeout.flatten().is_some() {
        warnings.push(
            "environment variable PREFORK_READY_TIMEOUT is ignored: this program does not announce readiness, because \
             its code sets no ready_timeout"
                .to_owned(),
        );
        environment.ready_timeout = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Prefork};
    use super::*;
    use crate::inheritance::Inheritance;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Without the variables that the tests themselves run with.
    fn prefork() -> Prefork {
        let (code, environment) = Default::default();
        let inheritance = Inheritance::of_this_process();
        Prefork { code, environment, inheritance, needs: Vec::new(), error: None, signals: None }
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
    fn the_defaults_are_what_the_table_says() {
        let (
            Settings { restart, reload, backoff, graceful_timeout, listen, reuse_port, user, no_new_privs, .. },
            warnings,
        ) = settings(&[], prefork());
        assert_eq!((restart, graceful_timeout), (Restart::OnFailure, Duration::from_secs(25)));
        assert_eq!(grammar::backoff("100ms..1s"), Ok(backoff));
        assert_eq!((listen, reuse_port, user, no_new_privs), (Vec::new(), false, None, false));
        assert_eq!((Restart::default(), Reload::default()), (restart, reload), "two words for one default");
        assert_eq!(warnings, [""; 0]);
    }

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

    /// As the grammar accepts all that some system has room for.
    #[test]
    fn a_path_that_this_system_has_no_room_for_is_refused_at_the_start() {
        let check = |length: usize| {
            let mut settings = settings(&[], prefork().listen("127.0.0.1:0, unix:/run/app.sock")).0;
            let Place::Unix(unix) = &mut settings.listen[1].place else { panic!("a path") };
            unix.path = format!("/{}", "x".repeat(length - 1));
            settings.check_paths()
        };
        assert!(check(103).is_ok());
        assert_eq!(check(107).is_ok(), cfg!(any(target_os = "linux", target_os = "android")));
        let why = check(108).expect_err("no system has room for it").to_string();
        assert!(why.starts_with("listen: ") && why.contains("has 108 bytes"), "{why}");
    }

    #[test]
    fn a_user_that_is_refused_is_named_with_where_it_was_given() {
        let code = || prefork().user("app").group(Some("7"));
        let own = settings(&[], code()).0;
        let (user, group) = (own.user_account().expect("a user"), own.group_account().expect("a group"));
        assert_eq!((user.name.as_str(), user.number(), group.number()), ("app", None, Some(7)));
        assert_eq!(user.refuse("why".to_owned()).to_string(), "user: why");
        let theirs = settings(&[("USER", "web"), ("GROUP", "none")], code()).0;
        let why = theirs.user_account().expect("a user").refuse("why".to_owned()).to_string();
        assert_eq!(why, "environment variable PREFORK_USER: why");
        assert!(theirs.group_account().is_none());
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
