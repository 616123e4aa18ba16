//! What a process does with a signal: sigaction(2), for signals of any number.
//!
//! Everything here is async-signal-safe. It must not know which signals matter.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;

use super::set::Set;
use crate::sys::outcome::checked;

/// A handler that learns the sender of the signal.
pub(super) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

#[derive(Clone, Copy)]
pub(super) struct Disposition(libc::sigaction);

impl Disposition {
    pub(super) fn default_action() -> Disposition {
        Disposition::new(libc::SIG_DFL, 0, Set::empty())
    }

    pub(super) fn ignore() -> Disposition {
        Disposition::new(libc::SIG_IGN, 0, Set::empty())
    }

    /// A handler during which no other handler runs. It may make only async-signal-safe calls, and must not panic. Calls that
    /// it interrupts go on (SA_RESTART), and it runs on the thread's stack for handlers, if there is one (SA_ONSTACK).
    pub(super) fn handler(handler: Handler) -> Disposition {
        Disposition::new(address(handler), libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK, Set::all())
    }

    fn new(action: libc::sighandler_t, flags: c_int, during: Set) -> Disposition {
        // SAFETY: a sigaction consists of numbers, a set, and a pointer to a function that may be null: all can be zeros.
        let mut new: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        (new.sa_sigaction, new.sa_flags, new.sa_mask) = (action, flags, *during.raw());
        Disposition(new)
    }

    /// The disposition of a signal. EINVAL for a number that is no signal, or a signal that the C library keeps for itself.
    pub(super) fn of(signal: c_int) -> io::Result<Disposition> {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: sigaction(2) with a null second argument changes nothing, and writes the current action through the third,
        // which points to a live local of that type.
        checked(unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) })?;
        // SAFETY: sigaction(2) succeeded, so it has written the whole structure.
        Ok(Disposition(unsafe { action.assume_init() }))
    }

    /// Makes this the disposition of a signal, and returns the one from before.
    pub(super) fn set(&self, signal: c_int) -> io::Result<Disposition> {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: sigaction(2) reads one structure and writes another, both live and of that type. `handler` requires of a
        // handler what sigaction(2) requires. Any other handler was returned by sigaction(2) for this signal, so it was in
        // place already.
        checked(unsafe { libc::sigaction(signal, &raw const self.0, before.as_mut_ptr()) })?;
        // SAFETY: sigaction(2) succeeded, so it has written the whole structure.
        Ok(Disposition(unsafe { before.assume_init() }))
    }

    pub(super) fn is_default(&self) -> bool {
        self.0.sa_sigaction == libc::SIG_DFL
    }

    pub(super) fn is_ignored(&self) -> bool {
        self.0.sa_sigaction == libc::SIG_IGN
    }

    pub(super) fn has_no_flags(&self) -> bool {
        self.0.sa_flags == 0
    }

    pub(super) fn has(&self, handler: Handler) -> bool {
        self.0.sa_sigaction == address(handler)
    }
}

fn address(handler: Handler) -> libc::sighandler_t {
    handler as *const () as libc::sighandler_t
}
