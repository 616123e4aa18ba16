//! What was given for each option, and what wins over what: the command line's value, the environment's, the code's, the
//! default in the option's row (`grammar/options.rs`).
//!
//! It must not know where a value was written, but for what its warnings name.

use std::os::unix::net::SocketAddr;
use std::time::Duration;

use crate::account::{Account, Overruled};
use crate::cpu;
use crate::error::Error;
use crate::grammar::{self, Backoff, Entry, Place, Reload, Restart, Width, for_each_option};

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
        #[derive(Debug, Default)]
        pub(crate) struct Values {
            $(pub(super) $option: Option<$type>,)+
            /// The options whose value wins over the environment's.
            from_command_line: Vec<&'static str>,
        }

        impl Values {
            /// Removes what these values win over, with a line for each.
            fn overrule(&self, environment: &mut Values, warnings: &mut Vec<String>) {
                $(if self.from_command_line.contains(&stringify!($option)) && environment.$option.take().is_some() {
                    warnings.push(overruled_variable(stringify!($option)));
                })+
            }
        }

        /// The values to run with.
        pub(crate) struct Settings {
            $(#[doc = $doc] pub(crate) $option: $type,)+
            /// Why there are that many workers.
            pub(crate) workers_because: String,
            /// The options whose value is the environment's.
            from_environment: Vec<&'static str>,
            /// Whether `huge_pages = true` was given, and is not the default.
            pub(crate) asks_for_huge_pages: bool,
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
                    $($option: match environment.$option.or(code.$option) {
                        Some(given) => given,
                        None => grammar::$read(concat!($default)).expect("the defaults are good values, as a test shows"),
                    },)+
                    workers_because: String::new(),
                    from_environment,
                    asks_for_huge_pages: false,
                    overruled: Vec::new(),
                }
            }
        }

        /// The options that have a variable.
        pub(super) const ROWS: &[Row] = &[$(Row {
            option: stringify!($option),
            without_workers: $without_workers,
            read: |values, text| {
                values.$option = Some(grammar::$read(text)?);
                Ok(())
            },
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

impl Values {
    /// Whether the value given for this option wins over the environment's.
    pub(super) fn wins_over_the_environment(&mut self, option: &'static str, wins: bool) {
        self.from_command_line.retain(|other| *other != option);
        if wins {
            self.from_command_line.push(option);
        }
    }
}

impl Settings {
    /// The command line's values, else the environment's, else the code's, else the defaults; and a warning for what is
    /// ignored.
    pub(crate) fn new(mut environment: Values, code: Values, warnings: &mut Vec<String>) -> Settings {
        code.overrule(&mut environment, warnings);
        warn_of_a_lost_protection(&environment, &code, warnings);
        forget_an_introduced_ready_timeout(&mut environment, &code, warnings);
        let (workers, workers_because) = match (environment.workers, code.workers) {
            (Some(workers @ 1..), _) => (workers, format!("PREFORK_WORKERS={workers}")),
            (None, Some(workers @ 1..)) => (workers, format!("workers = {workers}")),
            _ => cpu::count_and_why(),
        };
        let restarts_are_given = environment.max_restarts.or(code.max_restarts).is_some();
        let asks_for_huge_pages = environment.huge_pages.or(code.huge_pages) == Some(true);
        let overruled = [
            Overruled::new("user", &environment.user, &code.user),
            Overruled::new("group", &environment.group, &code.group),
        ];
        let mut settings = Settings::choose(environment, code);
        settings.workers = workers;
        settings.workers_because = workers_because;
        settings.asks_for_huge_pages = asks_for_huge_pages;
        for overruled in overruled.into_iter().flatten() {
            settings.overruled.push(overruled);
        }
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
            true => Error::Environment { variable: format!("PREFORK_{}", option.to_ascii_uppercase()), reason },
            false => Error::Option { name: option, reason },
        }
    }

    fn account(&self, option: &'static str, name: Option<&str>) -> Option<Account> {
        Some(Account::new(option, name?, self.from_environment.contains(&option)))
    }
}

fn overruled_variable(option: &str) -> String {
    format!(
        "environment variable PREFORK_{} is ignored: the command line sets {option}, and wins over the environment",
        option.to_ascii_uppercase()
    )
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
mod tests;
