//! Blocking the signals that a process reads from a queue, and restoring the mask from before.

use std::ffi::{c_int, c_void};
use std::io;

use super::change::{disposition_of, forget_pending, set};
use super::disposition::Disposition;
use super::lists::{lists, numbers, queued};
use super::set::{Set, pending};
use super::{Signal, early};

/// The signal mask and the disposition of SIGCHLD from before [`Mask::block`].
#[derive(Clone)]
pub(crate) struct Mask {
    blocked: Set,
    /// What may be pending in a new worker: few numbers, so that the worker does not try all there are.
    from_terminal: Box<[c_int]>,
    /// The disposition of SIGCHLD, where it was not the default.
    child: Option<Disposition>,
}

impl Mask {
    /// Blocks the signals of the lists, and gives SIGCHLD its default disposition, without which the kernel would throw exit
    /// statuses away. Signals are not [caught early](super::catch_early) any more; those that were noted are pending. Also returns
    /// the signals that a [`SignalQueue`](super::SignalQueue) reads: to find them asks for the disposition of each signal.
    pub(crate) fn block() -> io::Result<(Mask, Vec<c_int>)> {
        // All signals, until it is known which have a handler of the program's own.
        let blocked = Set::all().block()?;
        early::end();
        let arrange = || {
            spare_children()?;
            let child = set(Signal::SIGCHLD, &Disposition::default_action())?;
            let was_default = child.is_default() && child.has_no_flags();
            let queued = queued()?;
            let mut mask = blocked;
            for &signal in &queued {
                mask.add(signal);
            }
            for signal in numbers(lists().blocked_unread) {
                mask.add(signal);
            }
            mask.become_mask()?;
            let mut from_terminal = Vec::new();
            for signal in numbers(lists().from_terminal) {
                from_terminal.push(signal);
            }
            let from_terminal = from_terminal.into_boxed_slice();
            Ok((Mask { blocked, from_terminal, child: Some(child).filter(|_| !was_default) }, queued))
        };
        arrange().inspect_err(|_| {
            // The error that is reported is the one that matters.
            let _ = blocked.become_mask();
        })
    }

    /// The signals that were blocked before, and whether SIGCHLD was ignored. The program that this one becomes needs them,
    /// because exec(2) keeps the present mask and dispositions.
    pub(crate) fn handoff(&self) -> (Vec<c_int>, bool) {
        let mut blocked = Vec::new();
        for signal in self.blocked.numbers() {
            blocked.push(signal);
        }
        (blocked, self.child.is_some_and(|child| child.is_ignored()))
    }

    /// Replaces what [`block`](Mask::block) has found, which the previous program had set, by that program's
    /// [`handoff`](Mask::handoff).
    pub(crate) fn adopt(&mut self, blocked: &[c_int], child_ignored: bool) {
        self.blocked = Set::of(blocked.iter().copied());
        if child_ignored {
            self.child.get_or_insert(Disposition::ignore());
        }
    }

    /// Restores the mask and SIGCHLD in a process that was forked just now. Discards what a terminal has sent to the parent's
    /// group before this process left it.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn restore_in_worker(&self) -> io::Result<()> {
        let pending = pending()?;
        for &signal in &self.from_terminal {
            if pending.contains(signal) {
                forget_pending(signal)?;
            }
        }
        self.restore_before_exec()
    }

    /// Restores the mask and SIGCHLD in a process that becomes another program, which will have no handler of ours.
    /// Async-signal-safe.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn restore_before_exec(&self) -> io::Result<()> {
        if let Some(child) = &self.child {
            set(Signal::SIGCHLD, child)?;
        }
        self.blocked.become_mask()
    }

    /// Restores everything, in a process that reads no signals after all. The early handlers are installed again.
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

/// Gives an empty handler to the signals that must be harmless in children, where they have their default action. Forked
/// processes inherit the handler, and exec(2) restores the default action.
fn spare_children() -> io::Result<()> {
    for &signal in lists().harmless_in_children {
        if disposition_of(signal)?.is_default() {
            set(signal, &Disposition::handler(nothing))?;
        }
    }
    Ok(())
}

#[inline(never)] // It is recognized by its address, so it must have one address only.
extern "C" fn nothing(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}
