//! Signals: owned from the start, blocked, queued and read one by one; given back to a worker as they were.

mod disposition;
mod early;
#[cfg(all(target_os = "linux", not(prefork_portable)))]
mod linux;
mod notes;
#[cfg(any(not(target_os = "linux"), prefork_portable))]
mod portable;
mod resend;

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::OnceLock;

pub(crate) use nix::sys::signal::Signal;

use super::mask::{Set, pending};
use super::of_call;
use disposition::Disposition;

pub(crate) use early::{Owned, had_terminal, hold_stops, own};
#[cfg(all(target_os = "linux", not(prefork_portable)))]
pub(crate) use linux::SignalQueue;
#[cfg(any(not(target_os = "linux"), prefork_portable))]
pub(crate) use portable::SignalQueue;
pub(crate) use resend::resend;

/// Which signals a process reads, refuses or ignores, and what some of them are for. The caller of [`own`] decides; this
/// folder knows what to do with each list, and not why a signal is in it.
pub(crate) struct SignalLists {
    /// Read before all others. While signals are [owned](own), they end the program.
    pub(crate) stops: &'static [Signal],
    /// Read from the [`SignalQueue`], instead of their default action. It includes `stops`, and SIGCHLD.
    pub(crate) queued: &'static [Signal],
    /// Those of `queued` that stay ignored where they were ignored when this program started.
    pub(crate) left_ignored: &'static [Signal],
    /// Those of `queued` whose default action does nothing to forked processes. While signals are owned, they are noted.
    pub(crate) harmless_in_children: &'static [Signal],
    /// What a terminal sends to its whole foreground group, so that it may be pending in a process just forked.
    pub(crate) from_terminal: &'static [Signal],
    /// What stays blocked while a program that has taken over lets all other signals in.
    pub(crate) blocked_meanwhile: &'static [Signal],
    /// Blocked, and neither read nor refused.
    pub(crate) blocked_unread: &'static [Signal],
    /// Neither read nor refused. Every signal that is in none of these lists is read too, to be refused, where its default
    /// action would end the process.
    pub(crate) left_alone: &'static [Signal],
    /// What the line of a program that a stop has ended says after the sender.
    pub(crate) stopped_early: &'static str,
}

/// The lists that [`own`] was given. A handler reads them too: to read it is one atomic load.
static LISTS: OnceLock<&'static SignalLists> = OnceLock::new();

/// Those of a process that has never owned signals.
static NO_LISTS: SignalLists = SignalLists {
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
fn lists() -> &'static SignalLists {
    LISTS.get().copied().unwrap_or(&NO_LISTS)
}

/// The most descriptors that a queue can be waited for together with.
const MOST_OTHERS: usize = 2;

/// The signal mask, and the disposition of SIGCHLD, as they were.
#[derive(Clone)]
pub(crate) struct Mask {
    blocked: Set,
    /// What may be pending in a process just forked. It lies here, where a new worker need not touch another page.
    from_terminal: Set,
    /// That of SIGCHLD, where it was not the default.
    child: Option<Disposition>,
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Its number: one for real time has no name.
    pub(crate) signal: c_int,
    pub(crate) sent: Sent,
}

/// What there is to read, as [`SignalQueue::ready`] found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) signals: bool,
    pub(crate) other: bool,
}

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel: a terminal's key, a terminal gone, a timer, a limit.
    ByKernel,
    /// A process, with this id.
    By(i32),
}

impl Mask {
    /// Blocks what the supervisor reads, and SIGPIPE, and gives SIGCHLD its default disposition, without which the
    /// kernel would throw exit statuses away. Signals are not [owned](own) any more: what was noted is pending.
    pub(crate) fn block() -> io::Result<Mask> {
        // All of them, until it is known which have a handler of the program's own.
        let blocked = Set::all().block()?;
        early::end();
        let arrange = || {
            spare_children()?;
            let child = set(Signal::SIGCHLD, &Disposition::default_action())?;
            let was_default = child.is_default() && child.has_no_flags();
            let mut mask = blocked;
            queued()?.into_iter().chain(numbers(lists().blocked_unread)).for_each(|signal| mask.add(signal));
            mask.become_mask()?;
            let from_terminal = Set::of(numbers(lists().from_terminal));
            Ok(Mask { blocked, from_terminal, child: Some(child).filter(|_| !was_default) })
        };
        arrange().inspect_err(|_| {
            // The error that is reported is the one that matters.
            let _ = blocked.become_mask();
        })
    }

    /// The signals that were blocked before, and whether SIGCHLD was ignored: for the program that this one becomes, as
    /// exec(2) keeps what is now, and not what was.
    pub(crate) fn to_hand_over(&self) -> (Vec<c_int>, bool) {
        (self.blocked.numbers().collect(), self.child.is_some_and(|child| child.is_ignored()))
    }

    /// The other way round: what [`block`](Mask::block) found is what the program before has left, and not what was.
    pub(crate) fn hand_over(&mut self, blocked: &[c_int], child_ignored: bool) {
        self.blocked = Set::of(blocked.iter().copied());
        if child_ignored {
            self.child.get_or_insert(Disposition::ignore());
        }
    }

    /// Puts both back. In a worker just forked: what a terminal sent to the supervisor's group before the worker left
    /// it was not meant for the worker, and is forgotten.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn restore_in_worker(&self) -> io::Result<()> {
        let pending = pending()?;
        for signal in self.from_terminal.numbers() {
            if pending.contains(signal) {
                forget_pending(signal)?;
            }
        }
        self.restore_before_exec()
    }

    /// Puts both back, in a process that becomes another program, which has no handler of ours. Async-signal-safe.
    pub(crate) fn restore_before_exec(&self) -> io::Result<()> {
        if let Some(child) = &self.child {
            set(Signal::SIGCHLD, child)?;
        }
        self.blocked.become_mask()
    }

    /// Puts everything back, in a process that has no pool after all. Signals are owned as before.
    pub(crate) fn restore(&self) -> io::Result<()> {
        for &signal in lists().harmless_in_children {
            if disposition_of(signal)?.has(nothing) {
                set(signal, &Disposition::default_action())?;
            }
        }
        early::begin_again();
        self.restore_before_exec()
    }
}

/// Gives an empty handler to the signals that are to be harmless in children, where they have their default action. Forked
/// processes inherit the handler, and exec(2) gives the default action back.
fn spare_children() -> io::Result<()> {
    for &signal in lists().harmless_in_children {
        if disposition_of(signal)?.is_default() {
            set(signal, &Disposition::handler(nothing))?;
        }
    }
    Ok(())
}

#[inline(never)] // It has one address, by which it is known.
extern "C" fn nothing(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}

fn numbers(signals: &'static [Signal]) -> impl Iterator<Item = c_int> {
    signals.iter().map(|&signal| signal as c_int)
}

/// Who sent a signal. Async-signal-safe.
fn sender(info: &libc::siginfo_t) -> Sent {
    // SAFETY: where a process has sent the signal its id is filled in; elsewhere there are initialized bytes of another
    // field, which are not looked at.
    sender_by(info.si_code, unsafe { info.si_pid() })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn sender_by(code: c_int, pid: i32) -> Sent {
    match code {
        libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL | libc::SI_MESGQ => Sent::By(pid),
        // The others below 0 are timers and files, for which the kernel sends it.
        _ => Sent::ByKernel,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn sender_by(code: c_int, pid: i32) -> Sent {
    if code > 0 { Sent::ByKernel } else { Sent::By(pid) }
}

/// Discards a signal that is pending: POSIX does so when a signal is set to be ignored.
pub(super) fn forget_pending(signal: c_int) -> io::Result<()> {
    let set = |disposition: &Disposition| disposition.set(signal).map_err(of_call("sigaction(2)"));
    let before = set(&Disposition::ignore())?;
    set(&before)?;
    Ok(())
}

/// What the queue is to hold.
fn queued() -> io::Result<Vec<c_int>> {
    let mut signals: Vec<c_int> = numbers(lists().queued).chain(refusable()).collect();
    for &signal in lists().left_ignored {
        if is_ignored(signal)? {
            signals.retain(|queued| *queued != signal as c_int);
        }
    }
    Ok(signals)
}

/// The signals in no list that would end this process.
fn refusable() -> impl Iterator<Item = c_int> {
    let lists = lists();
    let listed = Set::of([lists.queued, lists.blocked_unread, lists.left_alone].into_iter().flat_map(numbers));
    // What the C library keeps for itself has no disposition.
    let is_fatal = |signal| Disposition::of(signal).is_ok_and(|now| now.is_default());
    all_numbers().filter(move |&signal| !listed.contains(signal) && is_fatal(signal))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn all_numbers() -> impl Iterator<Item = c_int> {
    1..=libc::SIGRTMAX()
}

/// Those that end a process by default on every system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn all_numbers() -> impl Iterator<Item = c_int> {
    let signals = [Signal::SIGALRM, Signal::SIGVTALRM, Signal::SIGPROF, Signal::SIGXCPU, Signal::SIGXFSZ];
    signals.into_iter().map(|signal| signal as c_int)
}

fn disposition_of(signal: Signal) -> io::Result<Disposition> {
    Disposition::of(signal as c_int).map_err(of_call("sigaction(2)"))
}

fn set(signal: Signal, disposition: &Disposition) -> io::Result<Disposition> {
    disposition.set(signal as c_int).map_err(of_call("sigaction(2)"))
}

/// Gives SIGPIPE its default action, as std does in what it starts: std ignores the signal in a Rust program.
pub(crate) fn default_broken_pipes() -> io::Result<()> {
    set(Signal::SIGPIPE, &Disposition::default_action()).map(drop)
}

/// Whether the signal is ignored. Before a [`SignalQueue`] is opened: whether it was when this program started.
pub(crate) fn is_ignored(signal: Signal) -> io::Result<bool> {
    Ok(disposition_of(signal)?.is_ignored())
}

/// Stops this process as a terminal's stop key would, and returns when it was continued, or at once where the kernel
/// does not stop it (PID 1, or an orphaned process group).
pub(crate) fn suspend() -> io::Result<()> {
    let before = set(Signal::SIGTSTP, &Disposition::default_action())?;
    nix::sys::signal::kill(super::getpid(), Signal::SIGTSTP)?;
    let blocked = Set::one(Signal::SIGTSTP).unblock()?;
    blocked.become_mask()?;
    set(Signal::SIGTSTP, &before)?;
    Ok(())
}

/// Runs the action in a handler of this signal, after the handlers that were there before, errno preserved. The action
/// makes async-signal-safe calls and no other, and does not panic.
pub(crate) fn add_handler(signal: Signal, action: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
    // SAFETY: what it asks for is that the action is async-signal-safe. There is one caller, `shutdown`, whose action
    // stores atomics and calls getpid(2), clock_gettime(2) and shutdown(2), which signal-safety(7) lists.
    unsafe { signal_hook_registry::register(signal as c_int, action) }.map(drop)
}

/// Lets the signal reach this thread.
pub(crate) fn unblock(signal: Signal) -> io::Result<()> {
    Set::one(signal).unblock().map(drop)
}

/// Starts a thread in which no handler ever runs.
pub(crate) fn spawn_without_signals(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A thread begins with the mask of the one that starts it.
    let before = Set::all().block()?;
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    before.become_mask()?;
    thread.map(drop)
}

/// The signal's name: `SIGSEGV`, `SIGRTMIN+3`.
pub(crate) fn signal_name(signal: c_int) -> String {
    if let Ok(signal) = Signal::try_from(signal) {
        return signal.as_str().to_owned();
    }
    match signal - real_time_minimum() {
        0 => "SIGRTMIN".to_owned(),
        offset if offset > 0 => format!("SIGRTMIN+{offset}"),
        _ => format!("signal {signal}"),
    }
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
mod tests;
