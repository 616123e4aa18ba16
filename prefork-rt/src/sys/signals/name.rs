//! The signals that have names, and what a number is called.

use std::ffi::c_int;
use std::fmt::{self, Display};

use crate::wording::words;

/// Makes the signals from their names, each with the systems that have it where not all do.
macro_rules! signals {
    ($($(#[$systems:meta])* $name:ident)*) => {
        /// A signal that has a name on this system. Signals for real time have only numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(clippy::upper_case_acronyms, reason = "manual pages write them like this")]
        #[repr(i32)]
        pub(crate) enum Signal {
            $($(#[$systems])* $name = libc::$name,)*
        }

        const ALL: &[Signal] = &[$($(#[$systems])* Signal::$name,)*];

        impl Signal {
            /// Such as `SIGTERM`. Async-signal-safe.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $($(#[$systems])* Signal::$name => stringify!($name),)*
                }
            }
        }
    };
}

signals! {
    SIGHUP
    SIGINT
    SIGQUIT
    SIGILL
    SIGTRAP
    SIGABRT
    SIGBUS
    SIGFPE
    SIGKILL
    SIGUSR1
    SIGSEGV
    SIGUSR2
    SIGPIPE
    SIGALRM
    SIGTERM
    #[cfg(all(
        any(target_os = "linux", target_os = "android"),
        not(any(
            target_arch = "mips",
            target_arch = "mips32r6",
            target_arch = "mips64",
            target_arch = "mips64r6",
            target_arch = "sparc",
            target_arch = "sparc64"
        ))
    ))]
    SIGSTKFLT
    SIGCHLD
    SIGCONT
    SIGSTOP
    SIGTSTP
    SIGTTIN
    SIGTTOU
    SIGURG
    SIGXCPU
    SIGXFSZ
    SIGVTALRM
    SIGPROF
    SIGWINCH
    #[cfg(not(target_os = "haiku"))]
    SIGIO
    #[cfg(any(target_os = "linux", target_os = "android"))]
    SIGPWR
    SIGSYS
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "solaris",
        target_os = "illumos"
    ))]
    SIGEMT
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd"
    ))]
    SIGINFO
}

impl Signal {
    /// The signal with this number, if it has a name. Async-signal-safe.
    pub(crate) fn of_number(number: c_int) -> Option<Signal> {
        ALL.iter().copied().find(|&signal| signal as c_int == number)
    }
}

impl Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `SIGSEGV`, `SIGRTMIN+3`, or `signal 33` for a number without a name.
pub(crate) fn signal_name(number: c_int) -> impl Display {
    words(move |f| match (Signal::of_number(number), number - real_time_minimum()) {
        (Some(signal), _) => f.write_str(signal.as_str()),
        (None, 0) => f.write_str("SIGRTMIN"),
        (None, offset @ 1..) => write!(f, "SIGRTMIN+{offset}"),
        (None, _) => write!(f, "signal {number}"),
    })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn real_time_minimum() -> c_int {
    libc::SIGRTMIN()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn real_time_minimum() -> c_int {
    c_int::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_called_by_its_name_where_it_has_one() {
        for (number, name) in [(libc::SIGHUP, "SIGHUP"), (libc::SIGKILL, "SIGKILL"), (libc::SIGSYS, "SIGSYS")] {
            assert_eq!(signal_name(number).to_string(), name);
        }
        for number in [0, -1] {
            assert_eq!(Signal::of_number(number), None);
            assert_eq!(signal_name(number).to_string(), format!("signal {number}"));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn every_number_below_those_for_real_time_has_a_name() {
        let nameless: Vec<c_int> = (1..32).filter(|&number| Signal::of_number(number).is_none()).collect();
        assert_eq!(nameless, [0; 0]);
        assert_eq!(signal_name(libc::SIGRTMIN()).to_string(), "SIGRTMIN");
        assert_eq!(signal_name(libc::SIGRTMIN() + 3).to_string(), "SIGRTMIN+3");
    }
}
