//! What may be written as the value of an option in the code: of which types, and as text.
//!
//! The methods of [`Prefork`](crate::Prefork) and the arguments of the attribute take these types. The traits are
//! sealed: they are here to be read, not to be implemented or called.
//!
//! | option | trait | takes |
//! |---|---|---|
//! | `workers` | [`IntoWorkers`] | `usize`, [`NonZeroUsize`], a string: a number or `"auto"` |
//! | `max_restarts` | [`IntoMaxRestarts`] | `usize`, a string: a number or `"unlimited"` |
//! | `graceful_timeout`, `drain_delay` | [`IntoDuration`] | [`Duration`], a string such as `"30s"` |
//! | `restart_window`, `ready_timeout`, `heartbeat_timeout`, `max_lifetime` | [`IntoOptionalDuration`] | these, and `None` or `"none"` |
//! | `max_memory` | [`IntoMaxMemory`] | `u64` of bytes, a string such as `"512MiB"`, `None` or `"none"` |
//! | `restart` | [`IntoRestart`] | [`Restart`], `"on-failure"`, `"always"` |
//! | `reload` | [`IntoReload`] | [`Reload`], `"overlap"`, `"exclusive"` |
//! | `reload_width` | [`IntoReloadWidth`] | `usize`, a string: a number or a percentage such as `"25%"` |
//! | `backoff` | [`IntoBackoff`] | a string such as `"100ms..1s"`, a range of [`Duration`]s, a `Duration` |
//! | `listen` | [`IntoListen`] | a string such as `"127.0.0.1:8080"`, [`SocketAddr`], an array, slice or `Vec` of either, `None` or `"none"` |
//! | `user`, `group`, `umask` | [`IntoOptionalText`] | a string, `None` |
//! | `reuse_port`, `no_new_privs`, `huge_pages` | [`IntoBool`] | `bool` |
//!
//! A string is `&str`, `&String` or `String`. Each option takes an `Option`, too: one that can be copied by value
//! (`Option<usize>`, `Option<Duration>`, `Option<bool>`), and any by reference (`&Option<String>`). `None` is as if the
//! option were not given. A [`CommandLine`](crate::CommandLine) of any of these wins over the environment.
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
use super::{CommandLine, CommandLineOr};
use crate::grammar::{self, Backoff, Entry, Host, Place, Reload, Restart, Width};

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
impl Sealed for u64 {}
impl Sealed for bool {}
impl Sealed for Restart {}
impl Sealed for Reload {}
impl Sealed for Range<Duration> {}
impl Sealed for RangeInclusive<Duration> {}
impl Sealed for SocketAddr {}
impl<T: IntoListen, const N: usize> Sealed for [T; N] {}
impl<T: IntoListen + Clone, const N: usize> Sealed for &[T; N] {}
impl<T: IntoListen + Clone> Sealed for &[T] {}
impl<T: IntoListen + Clone> Sealed for &Vec<T> {}
impl<T: IntoListen> Sealed for Vec<T> {}
impl<T> Sealed for Option<T> {}
impl<T> Sealed for &Option<T> {}
impl<T> Sealed for CommandLine<T> {}
impl<T, D> Sealed for CommandLineOr<T, D> {}

/// What the code says of an option: a value, why a value cannot be used, or nothing.
#[doc(hidden)]
#[derive(Debug)]
pub struct Given<V> {
    pub(super) value: Option<Result<V, String>>,
    /// It wins over the environment.
    pub(super) is_from_command_line: bool,
}

impl<V> Given<V> {
    /// As if the option were not written.
    fn nothing() -> Given<V> {
        Given { value: None, is_from_command_line: false }
    }

    fn of_the_command_line(self) -> Given<V> {
        Given { is_from_command_line: true, ..self }
    }

    fn or_else(self, other: impl FnOnce() -> Given<V>) -> Given<V> {
        if self.value.is_some() { self } else { other() }
    }

    pub(super) fn and_then<W>(self, read: impl FnOnce(V) -> Result<W, String>) -> Given<W> {
        Given { value: self.value.map(|value| value.and_then(read)), is_from_command_line: self.is_from_command_line }
    }
}

impl<V> From<Result<V, String>> for Given<V> {
    fn from(value: Result<V, String>) -> Given<V> {
        Given { value: Some(value), is_from_command_line: false }
    }
}

/// What [`Prefork::workers`] takes: `usize`, [`NonZeroUsize`], or a string (`"auto"` or a number).
///
/// An `Option<usize>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    label = "expected `usize`, `NonZeroUsize`, `\"auto\"` or an `Option<usize>`"
)]
pub trait IntoWorkers: Sealed {
    #[doc(hidden)]
    fn into_workers(self) -> Given<usize>;
}

/// What [`Prefork::max_restarts`] takes: `usize`, or a string (`"unlimited"` or a number).
///
/// An `Option<usize>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    label = "expected `usize`, `\"unlimited\"` or an `Option<usize>`"
)]
pub trait IntoMaxRestarts: Sealed {
    #[doc(hidden)]
    fn into_max_restarts(self) -> Given<Option<usize>>;
}

/// What takes a duration: a [`Duration`], or a string such as `"250ms"`, `"30s"`, `"5m"` or `"1h"`.
///
/// An `Option<Duration>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    fn into_duration(self) -> Given<Duration>;
}

/// What takes a duration that may be none: a [`Duration`], a string such as `"30s"`, or `None` or `"none"`.
///
/// An `Option<Duration>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    fn into_optional_duration(self) -> Given<Option<Duration>>;
}

/// What [`Prefork::max_memory`] takes: a `u64` of bytes, a string such as `"512MiB"`, or `None` or `"none"`.
///
/// An `Option<u64>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    fn into_max_memory(self) -> Given<Option<u64>>;
}

/// What [`Prefork::restart`] takes: a [`Restart`], or a string (`"on-failure"` or `"always"`).
///
/// An `Option<Restart>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    fn into_restart(self) -> Given<Restart>;
}

/// What [`Prefork::reload`] takes: a [`Reload`], or a string (`"overlap"` or `"exclusive"`).
///
/// An `Option<Reload>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    fn into_reload(self) -> Given<Reload>;
}

/// What [`Prefork::reload_width`] takes: `usize`, or a string (a number, or a percentage such as `"25%"`).
///
/// An `Option<usize>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
///
/// ```
/// use prefork_rt::{Prefork, values::IntoReloadWidth};
///
/// fn configured(width: impl IntoReloadWidth) -> Prefork {
///     Prefork::new().reload_width(width)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how many workers a reload replaces at once",
    label = "expected `usize` or a percentage such as `\"25%\"`"
)]
pub trait IntoReloadWidth: Sealed {
    #[doc(hidden)]
    fn into_reload_width(self) -> Given<Width>;
}

/// What takes a text that may be none: a string, or `None`.
///
/// An `Option<&str>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    label = "expected a string such as \"nobody\" or \"027\", or `None` (an `Option<String>` is taken by reference)"
)]
pub trait IntoOptionalText: Sealed {
    #[doc(hidden)]
    fn into_optional_text(self) -> Given<Option<String>>;
}

/// What [`Prefork::backoff`] takes: a string such as `"100ms..1s"`, a range of [`Duration`]s, or a `Duration`.
///
/// An `Option<Duration>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    fn into_backoff(self) -> Given<Backoff>;
}

/// What takes yes or no: a `bool`.
///
/// An `Option<bool>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
///
/// ```
/// use prefork_rt::{Prefork, values::IntoBool};
///
/// fn configured(reuse_port: impl IntoBool) -> Prefork {
///     Prefork::new().reuse_port(reuse_port)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not yes or no",
    label = "expected `true`, `false` or an `Option<bool>`"
)]
pub trait IntoBool: Sealed {
    #[doc(hidden)]
    fn into_bool(self) -> Given<bool>;
}

/// What [`Prefork::listen`] takes: a string such as `"127.0.0.1:8080"`, a [`SocketAddr`], or an array, slice or `Vec` of either; `"none"`
/// and `None` for no address.
///
/// An `Option<&str>`, or any `Option` by reference, too: `None` is as if the option were not given. And a
/// [`CommandLine`] of any of these.
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
    label = "expected a string such as `\"127.0.0.1:8080\"`, a `SocketAddr`, or a list of either (an `Option<String>` is taken by reference)"
)]
pub trait IntoListen: Sealed {
    #[doc(hidden)]
    fn into_listen(self) -> Given<Vec<Entry>>;
}

#[diagnostic::do_not_recommend]
impl IntoWorkers for usize {
    fn into_workers(self) -> Given<usize> {
        grammar::check_workers(self).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoWorkers for NonZeroUsize {
    fn into_workers(self) -> Given<usize> {
        grammar::check_workers(self.get()).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoMaxRestarts for usize {
    fn into_max_restarts(self) -> Given<Option<usize>> {
        Ok(Some(self)).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoDuration for Duration {
    fn into_duration(self) -> Given<Duration> {
        Ok(self).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoOptionalDuration for Duration {
    fn into_optional_duration(self) -> Given<Option<Duration>> {
        Ok(Some(self)).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoMaxMemory for u64 {
    fn into_max_memory(self) -> Given<Option<u64>> {
        grammar::check_max_memory(self, &self.to_string()).map(Some).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoRestart for Restart {
    fn into_restart(self) -> Given<Restart> {
        Ok(self).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoReload for Reload {
    fn into_reload(self) -> Given<Reload> {
        Ok(self).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoReloadWidth for usize {
    fn into_reload_width(self) -> Given<Width> {
        grammar::check_reload_width(self).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoBool for bool {
    fn into_bool(self) -> Given<bool> {
        Ok(self).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoBackoff for Duration {
    fn into_backoff(self) -> Given<Backoff> {
        grammar::check_backoff(self, self).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoBackoff for Range<Duration> {
    fn into_backoff(self) -> Given<Backoff> {
        grammar::check_backoff(self.start, self.end).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoBackoff for RangeInclusive<Duration> {
    fn into_backoff(self) -> Given<Backoff> {
        grammar::check_backoff(*self.start(), *self.end()).into()
    }
}

#[diagnostic::do_not_recommend]
impl IntoListen for SocketAddr {
    fn into_listen(self) -> Given<Vec<Entry>> {
        Ok(vec![Entry { name: None, place: Place::Tcp(Host::Address(self)) }]).into()
    }
}

#[diagnostic::do_not_recommend]
impl<T: IntoListen, const N: usize> IntoListen for [T; N] {
    fn into_listen(self) -> Given<Vec<Entry>> {
        all_of(self)
    }
}

#[diagnostic::do_not_recommend]
impl<T: IntoListen + Clone, const N: usize> IntoListen for &[T; N] {
    fn into_listen(self) -> Given<Vec<Entry>> {
        all_of(self.iter().cloned())
    }
}

#[diagnostic::do_not_recommend]
impl<T: IntoListen + Clone> IntoListen for &[T] {
    fn into_listen(self) -> Given<Vec<Entry>> {
        all_of(self.iter().cloned())
    }
}

#[diagnostic::do_not_recommend]
impl<T: IntoListen + Clone> IntoListen for &Vec<T> {
    fn into_listen(self) -> Given<Vec<Entry>> {
        all_of(self.iter().cloned())
    }
}

#[diagnostic::do_not_recommend]
impl<T: IntoListen> IntoListen for Vec<T> {
    fn into_listen(self) -> Given<Vec<Entry>> {
        all_of(self)
    }
}

/// An empty list is as if the option were not given: a parser of arguments has one where it was given no address.
fn all_of<T: IntoListen>(list: impl IntoIterator<Item = T>) -> Given<Vec<Entry>> {
    let mut all = Given::nothing();
    for one in list {
        let one = one.into_listen();
        all.is_from_command_line |= one.is_from_command_line;
        all.value = match (all.value.take(), one.value) {
            (all, None) | (all @ Some(Err(_)), Some(_)) => all,
            (None, one) | (Some(Ok(_)), one @ Some(Err(_))) => one,
            (Some(Ok(all)), Some(Ok(more))) => Some(Ok(all.into_iter().chain(more).collect())),
        };
    }
    all.and_then(grammar::each_name_once)
}

macro_rules! options_may_be_given_or_not {
    ($($into:ident, $method:ident, $value:ty, by value $by_value:ty;)*) => {$(
        /// One type of `Option` only, so that a plain `None` has a type.
        #[diagnostic::do_not_recommend]
        impl $into for Option<$by_value> {
            fn $method(self) -> Given<$value> {
                self.map_or_else(Given::nothing, <$by_value>::$method)
            }
        }
        #[diagnostic::do_not_recommend]
        impl<T: $into + Clone> $into for &Option<T> {
            fn $method(self) -> Given<$value> {
                self.clone().map_or_else(Given::nothing, T::$method)
            }
        }
        #[diagnostic::do_not_recommend]
        impl<T: $into> $into for CommandLine<T> {
            fn $method(self) -> Given<$value> {
                self.0.$method().of_the_command_line()
            }
        }
        #[diagnostic::do_not_recommend]
        impl<T: $into, D: $into> $into for CommandLineOr<T, D> {
            fn $method(self) -> Given<$value> {
                self.0.$method().or_else(|| self.1.$method())
            }
        }
    )*};
}
options_may_be_given_or_not! {
    IntoWorkers, into_workers, usize, by value usize;
    IntoMaxRestarts, into_max_restarts, Option<usize>, by value usize;
    IntoDuration, into_duration, Duration, by value Duration;
    IntoOptionalDuration, into_optional_duration, Option<Duration>, by value Duration;
    IntoMaxMemory, into_max_memory, Option<u64>, by value u64;
    IntoRestart, into_restart, Restart, by value Restart;
    IntoReload, into_reload, Reload, by value Reload;
    IntoReloadWidth, into_reload_width, Width, by value usize;
    IntoOptionalText, into_optional_text, Option<String>, by value &str;
    IntoBackoff, into_backoff, Backoff, by value Duration;
    IntoBool, into_bool, bool, by value bool;
    IntoListen, into_listen, Vec<Entry>, by value &str;
}

macro_rules! strings_are_read_by_the_grammar {
    ($($text:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl IntoWorkers for $text {
            fn into_workers(self) -> Given<usize> {
                grammar::workers(self.as_ref()).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoMaxRestarts for $text {
            fn into_max_restarts(self) -> Given<Option<usize>> {
                grammar::max_restarts(self.as_ref()).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoDuration for $text {
            fn into_duration(self) -> Given<Duration> {
                grammar::duration(self.as_ref()).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoOptionalDuration for $text {
            fn into_optional_duration(self) -> Given<Option<Duration>> {
                grammar::optional_duration(self.as_ref()).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoMaxMemory for $text {
            fn into_max_memory(self) -> Given<Option<u64>> {
                grammar::max_memory(self.as_ref()).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoRestart for $text {
            fn into_restart(self) -> Given<Restart> {
                grammar::restart(self.as_ref()).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoReload for $text {
            fn into_reload(self) -> Given<Reload> {
                grammar::reload(self.as_ref()).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoReloadWidth for $text {
            fn into_reload_width(self) -> Given<Width> {
                grammar::reload_width(self.as_ref()).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoOptionalText for $text {
            fn into_optional_text(self) -> Given<Option<String>> {
                Ok(Some(self.into())).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoBackoff for $text {
            fn into_backoff(self) -> Given<Backoff> {
                grammar::backoff(self.as_ref()).into()
            }
        }
        #[diagnostic::do_not_recommend]
        impl IntoListen for $text {
            fn into_listen(self) -> Given<Vec<Entry>> {
                grammar::addresses(self.as_ref()).into()
            }
        }
    )*};
}
strings_are_read_by_the_grammar!(&str, &String, String);

#[cfg(test)]
mod tests;
