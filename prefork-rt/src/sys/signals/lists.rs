//! The lists of signals that [`catch_early`](super::catch_early) was given, and which signals of this system follow
//! from them.
//!
//! It must not know why a signal is in a list.

use std::ffi::c_int;
use std::io;
use std::sync::OnceLock;

use super::Signal;
use super::change::is_ignored;
use super::disposition::Disposition;
use super::set::Set;

/// Which signals a process reads, refuses or ignores, and what some of them are for.
pub(crate) struct SignalLists {
    /// Read before all others. While signals are [caught early](super::catch_early), they end the program.
    pub(crate) stops: &'static [Signal],
    /// Read from the [`SignalQueue`](super::SignalQueue). `stops` and SIGCHLD are among them.
    pub(crate) queued: &'static [Signal],
    /// Those of `queued` that stay ignored where they were ignored when this program started.
    pub(crate) left_ignored: &'static [Signal],
    /// Those of `queued` that get an empty handler, which forked processes inherit, where they have their default action.
    /// While signals are caught early, they are noted.
    pub(crate) harmless_in_children: &'static [Signal],
    /// What a terminal sends to its whole foreground group. A process that was forked just now may have them pending.
    pub(crate) from_terminal: &'static [Signal],
    /// What stays blocked in a program that takes a pool over, while it lets all other signals in.
    pub(crate) blocked_meanwhile: &'static [Signal],
    /// Blocked, and neither read nor refused.
    pub(crate) blocked_unread: &'static [Signal],
    /// Neither blocked, nor read, nor refused. A signal that is not in `queued`, `blocked_unread` or `left_alone` is read too,
    /// for the caller to refuse it, if it has its default action and this would end the process.
    pub(crate) left_alone: &'static [Signal],
    /// What the last line of a program says, after the sender, when a stop has ended it while they were caught early.
    pub(crate) stopped_early: &'static str,
}

/// The lists that [`catch_early`](super::catch_early) was given first. Handlers read them too, which takes one atomic
/// load.
pub(super) static LISTS: OnceLock<&'static SignalLists> = OnceLock::new();

/// The lists of a process that has never caught signals early.
pub(super) static NO_LISTS: SignalLists = SignalLists {
    stops: &[],
    queued: &[],
    left_ignored: &[],
    harmless_in_children: &[],
    from_terminal: &[],
    blocked_meanwhile: &[],
    blocked_unread: &[],
    left_alone: &[],
    stopped_early: "",
};

/// Async-signal-safe.
pub(super) fn lists() -> &'static SignalLists {
    LISTS.get().copied().unwrap_or(&NO_LISTS)
}

/// As numbers: signals for real time have no names.
pub(super) fn numbers(signals: &'static [Signal]) -> impl Iterator<Item = c_int> {
    signals.iter().map(|&signal| signal as c_int)
}

/// The signals to read from a queue.
pub(super) fn queued() -> io::Result<Vec<c_int>> {
    let mut signals = refusable();
    for signal in numbers(lists().queued) {
        signals.push(signal);
    }
    for &signal in lists().left_ignored {
        if is_ignored(signal)? {
            signals.retain(|queued| *queued != signal as c_int);
        }
    }
    Ok(signals)
}

/// The signals that would end this process and are in no list.
pub(super) fn refusable() -> Vec<c_int> {
    let lists = lists();
    let mut listed = Set::empty();
    for list in [lists.queued, lists.blocked_unread, lists.left_alone] {
        numbers(list).for_each(|signal| listed.add(signal));
    }
    let mut refusable = Vec::new();
    for signal in all_numbers() {
        // A signal that the C library keeps for itself has no disposition.
        if !listed.contains(signal) && Disposition::of(signal).is_ok_and(|now| now.is_default()) {
            refusable.push(signal);
        }
    }
    refusable
}

/// The numbers of all signals of this system.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn all_numbers() -> impl Iterator<Item = c_int> {
    1..=libc::SIGRTMAX()
}

/// The signals that are on every system, and end a process by default.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn all_numbers() -> impl Iterator<Item = c_int> {
    let signals = [Signal::SIGALRM, Signal::SIGVTALRM, Signal::SIGPROF, Signal::SIGXCPU, Signal::SIGXFSZ];
    signals.into_iter().map(|signal| signal as c_int)
}
