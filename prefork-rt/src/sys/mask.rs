//! The signal mask of the calling thread: pthread_sigmask(3).
//!
//! nix's wrappers compare the result with -1, but the call returns the error itself: with them, a call that fails looks
//! like one that succeeds, and a mask that nobody wrote looks like the mask from before.

use std::ffi::c_int;
use std::io;
use std::ptr;

use nix::sys::signal::{SigSet, SigmaskHow};

use super::of_call;

/// Blocks or unblocks these signals, or makes them the mask. Returns the mask from before.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn change_mask(how: SigmaskHow, signals: &SigSet) -> io::Result<SigSet> {
    change(how as c_int, Some(signals))
}

/// The mask.
#[cfg(any(test, not(target_os = "linux"), prefork_portable))]
pub(crate) fn mask() -> io::Result<SigSet> {
    change(SigmaskHow::SIG_BLOCK as c_int, None)
}

#[inline]
fn change(how: c_int, signals: Option<&SigSet>) -> io::Result<SigSet> {
    let mut before = SigSet::empty();
    let signals = signals.map_or(ptr::null(), |signals| ptr::from_ref(signals.as_ref()));
    let mut raw: libc::sigset_t = *before.as_ref();
    // SAFETY: pthread_sigmask(3) reads the set through the second pointer, if that is not null, and writes one through
    // the third; both are to live sets.
    match unsafe { libc::pthread_sigmask(how, signals, &raw mut raw) } {
        0 => {}
        error => return Err(of_call("sigprocmask(2)")(io::Error::from_raw_os_error(error))),
    }
    // SAFETY: the call has succeeded, so this is the set that the system wrote.
    before = unsafe { SigSet::from_sigset_t_unchecked(raw) };
    Ok(before)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;
    use crate::sys::errno;

    #[test]
    fn a_mask_that_the_system_refuses_is_an_error_and_not_an_empty_mask() {
        let error = change(4711, Some(&SigSet::all())).expect_err("there is no such operation");
        assert_eq!(errno(&error), Some(libc::EINVAL));
    }

    #[test]
    fn a_change_returns_the_mask_from_before() {
        let before = mask().expect("a mask");
        let signals: SigSet = [Signal::SIGTTIN, Signal::SIGXFSZ].into_iter().collect();
        assert_eq!(change_mask(SigmaskHow::SIG_BLOCK, &signals).expect("blocked"), before);
        assert!(mask().expect("a mask").contains(Signal::SIGXFSZ));
        let both = change_mask(SigmaskHow::SIG_SETMASK, &before).expect("as before");
        assert!(both.contains(Signal::SIGTTIN) && both.contains(Signal::SIGXFSZ));
        assert_eq!(mask().expect("a mask"), before);
    }
}
