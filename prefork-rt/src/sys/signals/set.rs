//! Sets of signals, those for real time included, and the mask of the calling thread: sigsetops(3), pthread_sigmask(3).
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use super::Signal;
use crate::sys::of_call;
use crate::sys::outcome::checked;

/// No system has a signal with a higher number than this.
const HIGHEST: c_int = 128;

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct Set(libc::sigset_t);

impl Set {
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn empty() -> Set {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: sigemptyset(3) writes one set through the pointer, which is to a live local of that type.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: sigemptyset(3) has initialized the set.
        Set(unsafe { set.assume_init() })
    }

    pub(crate) fn all() -> Set {
        let mut set = Set::empty();
        // SAFETY: sigfillset(3) writes one set through the pointer, which is to a live local of that type.
        unsafe { libc::sigfillset(&raw mut set.0) };
        set
    }

    pub(crate) fn one(signal: Signal) -> Set {
        Set::of([signal as c_int])
    }

    pub(crate) fn of(signals: impl IntoIterator<Item = c_int>) -> Set {
        let mut set = Set::empty();
        signals.into_iter().for_each(|signal| set.add(signal));
        set
    }

    /// Adds a signal. A number that is no signal changes nothing, and neither does a signal that the C library keeps for itself.
    pub(crate) fn add(&mut self, signal: c_int) {
        // SAFETY: sigaddset(3) changes the set, which is initialized; any other number is EINVAL.
        unsafe { libc::sigaddset(&raw mut self.0, signal) };
    }

    #[cfg(any(not(target_os = "linux"), prefork_portable))]
    pub(crate) fn remove(&mut self, signal: c_int) {
        // SAFETY: sigdelset(3) changes the set, which is initialized; any other number is EINVAL.
        unsafe { libc::sigdelset(&raw mut self.0, signal) };
    }

    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn contains(&self, signal: c_int) -> bool {
        // SAFETY: sigismember(3) reads the set, which is initialized; any other number is EINVAL.
        unsafe { libc::sigismember(&raw const self.0, signal) == 1 }
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = c_int> {
        (1..=HIGHEST).filter(|&signal| self.contains(signal))
    }

    /// Adds these signals to the mask. Returns the mask from before.
    pub(crate) fn block(&self) -> io::Result<Set> {
        change(libc::SIG_BLOCK, Some(self))
    }

    /// Takes these signals out of the mask. Returns the mask from before.
    pub(crate) fn unblock(&self) -> io::Result<Set> {
        change(libc::SIG_UNBLOCK, Some(self))
    }

    /// Makes these signals the mask.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn become_mask(&self) -> io::Result<()> {
        // SAFETY: pthread_sigmask(3) reads the set through the second pointer, which is to a live set. The third is null, so it
        // writes nothing.
        changed(unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) })
    }

    /// The set, for a structure of a system call.
    pub(crate) fn raw(&self) -> &libc::sigset_t {
        &self.0
    }
}

/// The mask of this thread: pthread_sigmask(3).
#[cfg(any(test, not(target_os = "linux"), prefork_portable))]
pub(crate) fn mask() -> io::Result<Set> {
    change(libc::SIG_BLOCK, None)
}

/// The blocked signals that have arrived: sigpending(2).
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn pending() -> io::Result<Set> {
    let mut set = Set::empty();
    // SAFETY: sigpending(2) writes one set through the pointer, which is to a live local of that type.
    checked(unsafe { libc::sigpending(&raw mut set.0) }).map_err(of_call("sigpending(2)"))?;
    Ok(set)
}

#[inline]
fn change(how: c_int, signals: Option<&Set>) -> io::Result<Set> {
    let mut before = Set::empty();
    let signals = signals.map_or(ptr::null(), |signals| ptr::from_ref(&signals.0));
    // SAFETY: pthread_sigmask(3) reads the set through the second pointer, if that is not null, and writes one through
    // the third; both are to live sets.
    changed(unsafe { libc::pthread_sigmask(how, signals, &raw mut before.0) }).map(|()| before)
}

/// What pthread_sigmask(3) has returned: 0 or an error.
#[inline]
fn changed(returned: c_int) -> io::Result<()> {
    match returned {
        0 => Ok(()),
        error => Err(of_call("sigprocmask(2)")(io::Error::from_raw_os_error(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::errno;

    #[test]
    fn a_mask_that_the_system_refuses_is_an_error_and_not_an_empty_mask() {
        let error = change(4711, Some(&Set::all())).map(drop).expect_err("there is no such operation");
        assert_eq!(errno(&error), Some(libc::EINVAL));
    }

    #[test]
    fn a_change_returns_the_mask_from_before() {
        let numbers = |set: &Set| set.numbers().collect::<Vec<_>>();
        let before = mask().expect("a mask");
        let signals = Set::of([Signal::SIGTTIN as c_int, Signal::SIGXFSZ as c_int]);
        assert_eq!(numbers(&signals.block().expect("blocked")), numbers(&before));
        assert!(mask().expect("a mask").contains(Signal::SIGXFSZ as c_int));
        let both = Set::empty().block().expect("the mask");
        assert!(signals.numbers().all(|signal| both.contains(signal)));
        before.become_mask().expect("as before");
        assert_eq!(numbers(&mask().expect("a mask")), numbers(&before));
    }

    #[test]
    fn a_set_holds_what_was_added_and_no_number_that_is_no_signal() {
        let set = Set::of([1, 15, 0, -1, 4711, 1000]);
        assert_eq!(set.numbers().collect::<Vec<_>>(), [1, 15]);
        assert!(Set::all().numbers().count() > 30 && Set::empty().numbers().count() == 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_set_holds_signals_for_real_time() {
        let highest = libc::SIGRTMAX();
        assert!(Set::of([highest]).contains(highest) && Set::all().contains(highest));
    }
}
