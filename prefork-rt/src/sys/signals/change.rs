//! Changes of what single signals do in this process or thread.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;

use super::Signal;
use super::disposition::Disposition;
use super::set::Set;
use crate::sys::process::send;
use crate::sys::{getpid, of_call};

/// Whether the signal is ignored: sigaction(2). Before a [`SignalQueue`](super::SignalQueue) is open, this is as it was when the
/// program started.
pub(crate) fn is_ignored(signal: Signal) -> io::Result<bool> {
    Ok(disposition_of(signal)?.is_ignored())
}

/// Gives SIGPIPE its default action, for a program that is started: std ignores the signal in a Rust program, and does this
/// in the programs that it starts.
pub(crate) fn default_broken_pipes() -> io::Result<()> {
    set(Signal::SIGPIPE, &Disposition::default_action()).map(drop)
}

/// Stops this process as a terminal's stop key would. Returns when the process was continued, or at once where the kernel does
/// not stop it (PID 1, or an orphaned process group).
pub(crate) fn suspend() -> io::Result<()> {
    let before = set(Signal::SIGTSTP, &Disposition::default_action())?;
    send(getpid().as_raw(), libc::SIGTSTP)?;
    let blocked = Set::one(Signal::SIGTSTP).unblock()?;
    blocked.become_mask()?;
    set(Signal::SIGTSTP, &before)?;
    Ok(())
}

/// Has a handler of this signal run the action, after the handlers that were there before. The handler preserves errno. The
/// action may make only async-signal-safe calls, and must not panic.
pub(crate) fn add_handler(signal: Signal, action: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
    // SAFETY: `register` requires that the action is async-signal-safe. There is one caller, `shutdown`, whose action stores
    // atomics and calls getpid(2), clock_gettime(2) and shutdown(2), which signal-safety(7) lists.
    unsafe { signal_hook_registry::register(signal as c_int, action) }.map(drop)
}

/// Lets the signal reach this thread: pthread_sigmask(3).
pub(crate) fn unblock(signal: Signal) -> io::Result<()> {
    Set::one(signal).unblock().map(drop)
}

/// Starts a thread in which no handler ever runs.
pub(crate) fn spawn_without_signals(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A thread begins with the mask of the thread that starts it.
    let before = Set::all().block()?;
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    before.become_mask()?;
    thread.map(drop)
}

/// Discards a signal that is pending: POSIX says that a signal is discarded when it is set to be ignored.
pub(crate) fn forget_pending(signal: c_int) -> io::Result<()> {
    let set = |disposition: &Disposition| disposition.set(signal).map_err(of_call("sigaction(2)"));
    let before = set(&Disposition::ignore())?;
    set(&before)?;
    Ok(())
}

pub(super) fn disposition_of(signal: Signal) -> io::Result<Disposition> {
    Disposition::of(signal as c_int).map_err(of_call("sigaction(2)"))
}

pub(super) fn set(signal: Signal, disposition: &Disposition) -> io::Result<Disposition> {
    disposition.set(signal as c_int).map_err(of_call("sigaction(2)"))
}
