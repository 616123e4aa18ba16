//! What may be written as the value of an option in the code: of which types, and as text.
//!
//! The methods of [`Prefork`](crate::Prefork) and the arguments of the attribute take these types. The traits are
//! sealed: they are here to be read, not to be implemented or called.
//!
//! | option | trait | takes |
//! |---|---|---|
//! | `workers` | [`IntoWorkers`] | `usize`, [`NonZeroUsize`], a string: a number or `"auto"` |
//! | `max_restarts` | [`IntoMaxRestarts`] | `usize`, a string: a number or `"unlimited"` |
//! | `graceful_timeout` | [`IntoDuration`] | [`Duration`], a string such as `"30s"` |
//! | `restart_window`, `ready_timeout`, `heartbeat_timeout`, `max_lifetime` | [`IntoOptionalDuration`] | these, and `None` or `"none"` |
//! | `max_memory` | [`IntoMaxMemory`] | `u64` of bytes, a string such as `"512MiB"`, `None` or `"none"` |
//! | `restart` | [`IntoRestart`] | [`Restart`], `"on-failure"`, `"always"` |
//! | `reload` | [`IntoReload`] | [`Reload`], `"overlap"`, `"exclusive"` |
//! | `backoff` | [`IntoBackoff`] | a string such as `"100ms..1s"`, a range of [`Duration`]s, a `Duration` |
//! | `listen` | [`IntoListen`] | a string such as `"127.0.0.1:8080"`, [`SocketAddr`], an array, slice or `Vec` of either, `None` or `"none"` |
//! | `user`, `group`, `umask` | [`IntoOptionalText`] | a string, `None` |
//!
//! A string is `&str`, `&String` or `String`. `None` is an `Option` of the type that stands beside it, or `Option<&str>`.
//!
//! ```
//! use std::time::Duration;
//!
//! use prefork_rt::Prefork;
//!
//! let builder = Prefork::new()
//!     .workers("auto")
//!     .graceful_timeout(Duration::from_secs(10))
//!     .ready_timeout("30s")
//!     .max_lifetime(None)
//!     .backoff(Duration::from_millis(50)..Duration::from_secs(2));
//! # drop(builder);
//! ```

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

#[cfg(doc)]
use super::Prefork;
use crate::grammar::{self, Backoff, Entry, Host, Place, Reload, Restart};

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

impl Sealed for usize {}
impl Sealed for NonZeroUsize {}
impl Sealed for &str {}
impl Sealed for &String {}
impl Sealed for String {}
impl Sealed for Duration {}
impl Sealed for Option<Duration> {}
impl Sealed for u64 {}
impl Sealed for Option<u64> {}
impl Sealed for Restart {}
impl Sealed for Reload {}
impl Sealed for Range<Duration> {}
impl Sealed for RangeInclusive<Duration> {}
impl Sealed for SocketAddr {}
impl<T: IntoListen, const N: usize> Sealed for [T; N] {}
impl<T: IntoListen + Clone, const N: usize> Sealed for &[T; N] {}
impl<T: IntoListen + Clone> Sealed for &[T] {}
impl<T: IntoListen + Clone> Sealed for &Vec<T> {}
impl Sealed for Option<&str> {}
impl<T: IntoListen> Sealed for Vec<T> {}

/// What [`Prefork::workers`] takes: `usize`, [`NonZeroUsize`], or a string (`"auto"` or a number).
///
/// ```
/// use prefork_rt::{Prefork, values::IntoWorkers};
///
/// fn configured(workers: impl IntoWorkers) -> Prefork {
///     Prefork::new().workers(workers)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a number of workers",
    label = "expected `usize`, `NonZeroUsize` or `\"auto\"`"
)]
pub trait IntoWorkers: Sealed {
    #[doc(hidden)]
    fn into_workers(self) -> Result<usize, String>;
}

/// What [`Prefork::max_restarts`] takes: `usize`, or a string (`"unlimited"` or a number).
///
/// ```
/// use prefork_rt::{Prefork, values::IntoMaxRestarts};
///
/// fn configured(max_restarts: impl IntoMaxRestarts) -> Prefork {
///     Prefork::new().max_restarts(max_restarts)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a number of restarts",
    label = "expected `usize` or `\"unlimited\"`"
)]
pub trait IntoMaxRestarts: Sealed {
    #[doc(hidden)]
    fn into_max_restarts(self) -> Result<Option<usize>, String>;
}

/// What takes a duration: a [`Duration`], or a string such as `"250ms"`, `"30s"`, `"5m"` or `"1h"`.
///
/// ```
/// use prefork_rt::{Prefork, values::IntoDuration};
///
/// fn configured(graceful_timeout: impl IntoDuration) -> Prefork {
///     Prefork::new().graceful_timeout(graceful_timeout)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a duration",
    label = "expected a `Duration` or a string such as `\"30s\"`"
)]
pub trait IntoDuration: Sealed {
    #[doc(hidden)]
    fn into_duration(self) -> Result<Duration, String>;
}

/// What takes a duration that may be none: a [`Duration`], a string such as `"30s"`, or `None` or `"none"`.
///
/// ```
/// use prefork_rt::{Prefork, values::IntoOptionalDuration};
///
/// fn configured(ready_timeout: impl IntoOptionalDuration) -> Prefork {
///     Prefork::new().ready_timeout(ready_timeout)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a duration",
    label = "expected a `Duration`, a string such as `\"30s\"`, or `None`"
)]
pub trait IntoOptionalDuration: Sealed {
    #[doc(hidden)]
    fn into_optional_duration(self) -> Result<Option<Duration>, String>;
}

/// What [`Prefork::max_memory`] takes: a `u64` of bytes, a string such as `"512MiB"`, or `None` or `"none"`.
///
/// ```
/// use prefork_rt::{Prefork, values::IntoMaxMemory};
///
/// fn configured(max_memory: impl IntoMaxMemory) -> Prefork {
///     Prefork::new().max_memory(max_memory)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as an amount of memory",
    label = "expected a `u64` of bytes, a string such as `\"512MiB\"`, or `None`"
)]
pub trait IntoMaxMemory: Sealed {
    #[doc(hidden)]
    fn into_max_memory(self) -> Result<Option<u64>, String>;
}

/// What [`Prefork::restart`] takes: a [`Restart`], or a string (`"on-failure"` or `"always"`).
///
/// ```
/// use prefork_rt::{Prefork, values::IntoRestart};
///
/// fn configured(restart: impl IntoRestart) -> Prefork {
///     Prefork::new().restart(restart)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which workers are replaced",
    label = "expected `\"on-failure\"`, `\"always\"` or a `prefork_rt::Restart`"
)]
pub trait IntoRestart: Sealed {
    #[doc(hidden)]
    fn into_restart(self) -> Result<Restart, String>;
}

/// What [`Prefork::reload`] takes: a [`Reload`], or a string (`"overlap"` or `"exclusive"`).
///
/// ```
/// use prefork_rt::{Prefork, values::IntoReload};
///
/// fn configured(reload: impl IntoReload) -> Prefork {
///     Prefork::new().reload(reload)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say in which order a reload replaces a worker",
    label = "expected `\"overlap\"`, `\"exclusive\"` or a `prefork_rt::Reload`"
)]
pub trait IntoReload: Sealed {
    #[doc(hidden)]
    fn into_reload(self) -> Result<Reload, String>;
}

/// What takes a text that may be none: a string, or `None` (as an `Option<&str>`).
///
/// ```
/// use prefork_rt::{Prefork, values::IntoOptionalText};
///
/// fn configured(user: impl IntoOptionalText) -> Prefork {
///     Prefork::new().user(user)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a text",
    label = "expected a string such as \"nobody\" or \"027\", or `None` (for an `Option<String>`, add `.as_deref()`)"
)]
pub trait IntoOptionalText: Sealed {
    #[doc(hidden)]
    fn into_optional_text(self) -> Option<String>;
}

/// What [`Prefork::backoff`] takes: a string such as `"100ms..1s"`, a range of [`Duration`]s, or a `Duration`.
///
/// ```
/// use prefork_rt::{Prefork, values::IntoBackoff};
///
/// fn configured(backoff: impl IntoBackoff) -> Prefork {
///     Prefork::new().backoff(backoff)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a backoff",
    label = "expected a string such as `\"100ms..1s\"`, a range of `Duration`s or a `Duration`"
)]
pub trait IntoBackoff: Sealed {
    #[doc(hidden)]
    fn into_backoff(self) -> Result<Backoff, String>;
}

/// What [`Prefork::listen`] takes: a string such as `"127.0.0.1:8080"`, a [`SocketAddr`], or an array, slice or `Vec` of either; `"none"` and
/// `None` (as an `Option<&str>`) for no address.
///
/// ```
/// use prefork_rt::{Prefork, values::IntoListen};
///
/// fn configured(listen: impl IntoListen) -> Prefork {
///     Prefork::new().listen(listen)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as an address to listen on",
    label = "expected a string such as `\"127.0.0.1:8080\"`, a `SocketAddr`, or a list of either (for an `Option<String>`, add `.as_deref()`)"
)]
pub trait IntoListen: Sealed {
    #[doc(hidden)]
    fn into_listen(self) -> Result<Vec<Entry>, String>;
}

impl IntoWorkers for usize {
    fn into_workers(self) -> Result<usize, String> {
        grammar::check_workers(self)
    }
}

impl IntoWorkers for NonZeroUsize {
    fn into_workers(self) -> Result<usize, String> {
        grammar::check_workers(self.get())
    }
}

impl IntoMaxRestarts for usize {
    fn into_max_restarts(self) -> Result<Option<usize>, String> {
        Ok(Some(self))
    }
}

impl IntoDuration for Duration {
    fn into_duration(self) -> Result<Duration, String> {
        Ok(self)
    }
}

impl IntoOptionalDuration for Duration {
    fn into_optional_duration(self) -> Result<Option<Duration>, String> {
        Ok(Some(self))
    }
}

/// One type of option only, so that a plain `None` has a type.
impl IntoOptionalDuration for Option<Duration> {
    fn into_optional_duration(self) -> Result<Option<Duration>, String> {
        Ok(self)
    }
}

impl IntoMaxMemory for u64 {
    fn into_max_memory(self) -> Result<Option<u64>, String> {
        grammar::check_max_memory(self, &self.to_string()).map(Some)
    }
}

/// One type of option only, so that a plain `None` has a type.
impl IntoMaxMemory for Option<u64> {
    fn into_max_memory(self) -> Result<Option<u64>, String> {
        self.map_or(Ok(None), IntoMaxMemory::into_max_memory)
    }
}

impl IntoRestart for Restart {
    fn into_restart(self) -> Result<Restart, String> {
        Ok(self)
    }
}

impl IntoReload for Reload {
    fn into_reload(self) -> Result<Reload, String> {
        Ok(self)
    }
}

/// One type of option only, so that a plain `None` has a type.
impl IntoOptionalText for Option<&str> {
    fn into_optional_text(self) -> Option<String> {
        self.map(str::to_owned)
    }
}

impl IntoBackoff for Duration {
    fn into_backoff(self) -> Result<Backoff, String> {
        grammar::check_backoff(self, self)
    }
}

impl IntoBackoff for Range<Duration> {
    fn into_backoff(self) -> Result<Backoff, String> {
        grammar::check_backoff(self.start, self.end)
    }
}

impl IntoBackoff for RangeInclusive<Duration> {
    fn into_backoff(self) -> Result<Backoff, String> {
        grammar::check_backoff(*self.start(), *self.end())
    }
}

impl IntoListen for SocketAddr {
    fn into_listen(self) -> Result<Vec<Entry>, String> {
        Ok(vec![Entry { name: None, place: Place::Tcp(Host::Address(self)) }])
    }
}

impl<T: IntoListen, const N: usize> IntoListen for [T; N] {
    fn into_listen(self) -> Result<Vec<Entry>, String> {
        all_of(self)
    }
}

impl<T: IntoListen + Clone, const N: usize> IntoListen for &[T; N] {
    fn into_listen(self) -> Result<Vec<Entry>, String> {
        all_of(self.iter().cloned())
    }
}

impl<T: IntoListen + Clone> IntoListen for &[T] {
    fn into_listen(self) -> Result<Vec<Entry>, String> {
        all_of(self.iter().cloned())
    }
}

impl<T: IntoListen + Clone> IntoListen for &Vec<T> {
    fn into_listen(self) -> Result<Vec<Entry>, String> {
        all_of(self.iter().cloned())
    }
}

/// One type of option only, so that a plain `None` has a type.
impl IntoListen for Option<&str> {
    fn into_listen(self) -> Result<Vec<Entry>, String> {
        self.map_or_else(|| Ok(Vec::new()), IntoListen::into_listen)
    }
}

impl<T: IntoListen> IntoListen for Vec<T> {
    fn into_listen(self) -> Result<Vec<Entry>, String> {
        all_of(self)
    }
}

fn all_of<T: IntoListen>(list: impl IntoIterator<Item = T>) -> Result<Vec<Entry>, String> {
    let lists: Vec<Vec<Entry>> = list.into_iter().map(T::into_listen).collect::<Result<_, _>>()?;
    grammar::each_name_once(lists.into_iter().flatten().collect())
}

macro_rules! strings_are_read_by_the_grammar {
    ($($text:ty),*) => {$(
        impl IntoWorkers for $text {
            fn into_workers(self) -> Result<usize, String> {
                grammar::workers(self.as_ref())
            }
        }
        impl IntoMaxRestarts for $text {
            fn into_max_restarts(self) -> Result<Option<usize>, String> {
                grammar::max_restarts(self.as_ref())
            }
        }
        impl IntoDuration for $text {
            fn into_duration(self) -> Result<Duration, String> {
                grammar::duration(self.as_ref())
            }
        }
        impl IntoOptionalDuration for $text {
            fn into_optional_duration(self) -> Result<Option<Duration>, String> {
                grammar::optional_duration(self.as_ref())
            }
        }
        impl IntoMaxMemory for $text {
            fn into_max_memory(self) -> Result<Option<u64>, String> {
                grammar::max_memory(self.as_ref())
            }
        }
        impl IntoRestart for $text {
            fn into_restart(self) -> Result<Restart, String> {
                grammar::restart(self.as_ref())
            }
        }
        impl IntoReload for $text {
            fn into_reload(self) -> Result<Reload, String> {
                grammar::reload(self.as_ref())
            }
        }
        impl IntoOptionalText for $text {
            fn into_optional_text(self) -> Option<String> {
                Some(self.into())
            }
        }
        impl IntoBackoff for $text {
            fn into_backoff(self) -> Result<Backoff, String> {
                grammar::backoff(self.as_ref())
            }
        }
        impl IntoListen for $text {
            fn into_listen(self) -> Result<Vec<Entry>, String> {
                grammar::addresses(self.as_ref())
            }
        }
    )*};
}
strings_are_read_by_the_grammar!(&str, &String, String);
