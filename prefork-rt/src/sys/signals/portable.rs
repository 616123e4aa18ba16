//! Blocked signals are let in only while pselect(2) waits, and noted by a handler that does nothing else: POSIX alone.
//!
//! For systems without signalfd(2). On Linux it is compiled, and tested, with `--cfg prefork_portable`.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::select::{FD_SETSIZE, FdSet, pselect};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::sys::time::TimeSpec;

use crate::sys::mask::mask;
use crate::sys::{Alone, Fork, of_call};

use super::{MOST_OTHERS, Ready, Received, STOPS, Sent, queued, sender, set_disposition};

/// Per signal: 0 when it has not arrived, else [`ARRIVED`] with the sender's process id, or [`BY_KERNEL`].
static NOTED: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];
const ARRIVED: u64 = 1 << 32;
const BY_KERNEL: u64 = 1 << 33;

/// The signals that arrived and were not read yet.
pub(crate) struct SignalQueue {
    before: Vec<(Signal, SigAction)>,
    /// The mask during a wait.
    open_mask: SigSet,
    /// The same for those signals alone that stop the pool.
    stops_mask: SigSet,
}

impl SignalQueue {
    /// Queues the supervisor's signals, which are blocked already. Fails when `other` cannot be waited for besides.
    pub(crate) fn open(other: Option<BorrowedFd<'_>>) -> io::Result<SignalQueue> {
        if let Some(other) = other {
            check_number(other.as_raw_fd())?;
        }
        let action = noting();
        let mask = mask()?;
        let mut queue = SignalQueue { before: Vec::new(), open_mask: mask, stops_mask: mask };
        for signal in queued()? {
            queue.before.push((signal, set_disposition(signal, &action)?));
            queue.open_mask.remove(signal);
            if STOPS.contains(&signal) {
                queue.stops_mask.remove(signal);
            }
        }
        Ok(queue)
    }

    /// fork(2) of a process that seems to have no handler for SIGUSR1, or that would be passed on to the new one, and
    /// end it when the handler is gone. What arrives meanwhile is blocked, and stays.
    pub(crate) fn fork(&self, alone: Alone) -> io::Result<Fork> {
        if let Some((signal, before)) = self.before.iter().find(|(signal, _)| *signal == Signal::SIGUSR1) {
            set_disposition(*signal, before)?;
        }
        let result = crate::sys::fork(alone);
        if !matches!(result, Ok(Fork::Child(_))) {
            set_disposition(Signal::SIGUSR1, &noting())?;
        }
        result
    }

    /// Leaves signals as they were before `open`. In a worker.
    pub(crate) fn close(self) -> io::Result<()> {
        for (signal, action) in &self.before {
            set_disposition(*signal, action)?;
        }
        Ok(())
    }

    /// Which signals were ignored before `open`: exec(2) gives them their default action, as they are caught now.
    pub(crate) fn to_hand_over(&self) -> Vec<i32> {
        let ignored = self.before.iter().filter(|(_, action)| matches!(action.handler(), SigHandler::SigIgn));
        ignored.map(|&(signal, _)| signal as i32).collect()
    }

    /// The other way round: what `open` found is what exec(2) has left, and not what was.
    pub(crate) fn hand_over(&mut self, ignored: &[i32]) {
        for (signal, before) in &mut self.before {
            if ignored.contains(&(*signal as i32)) {
                *before = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            }
        }
    }

    /// The next signal, without waiting.
    pub(crate) fn read(&mut self) -> Option<Received> {
        self.next(|_| true, &self.open_mask)
    }

    /// The next signal that stops the pool, without waiting: one wait lets one signal in, the lowest, and one that comes
    /// again and again hides all others.
    pub(crate) fn read_stop(&mut self) -> Option<Received> {
        self.next(|signal| STOPS.contains(&signal), &self.stops_mask)
    }

    fn next(&self, wanted: impl Fn(Signal) -> bool, mask: &SigSet) -> Option<Received> {
        self.noted(&wanted).or_else(|| {
            let_in([], Some(Duration::ZERO), mask);
            self.noted(&wanted)
        })
    }

    /// Whether [`ready`](SignalQueue::ready) can wait for this one.
    pub(crate) fn check(other: BorrowedFd<'_>) -> io::Result<()> {
        check_number(other.as_raw_fd())
    }

    /// Waits until a signal has arrived, or one of the [`MOST_OTHERS`] others can be read or is at its end, or the time is
    /// over: pselect(2). May return early, and a signal may hide that another is ready until it was read.
    pub(crate) fn ready<'a>(
        &self,
        others: impl IntoIterator<Item = BorrowedFd<'a>>,
        timeout: Option<Duration>,
    ) -> Ready {
        let others = others.into_iter().take(MOST_OTHERS);
        let other = let_in(others, if is_any_noted() { Some(Duration::ZERO) } else { timeout }, &self.open_mask);
        if other {
            // A kernel that finds the descriptor ready may not have let any signal in.
            let_in([], Some(Duration::ZERO), &self.open_mask);
        }
        Ready { signals: is_any_noted(), other }
    }

    fn noted(&self, wanted: impl Fn(Signal) -> bool) -> Option<Received> {
        self.before.iter().filter(|&&(signal, _)| wanted(signal)).find_map(|&(signal, _)| {
            let sent = match NOTED[signal as usize].swap(0, Ordering::Relaxed) {
                0 => return None,
                BY_KERNEL => Sent::ByKernel,
                noted => Sent::By((noted - ARRIVED) as i32),
            };
            Some(Received { signal, sent })
        })
    }
}

/// Waits with this mask. Whether one of the others is ready.
fn let_in<'a>(others: impl IntoIterator<Item = BorrowedFd<'a>>, timeout: Option<Duration>, mask: &SigSet) -> bool {
    let timeout = timeout.map(|timeout| TimeSpec::from(timeout.min(Duration::from_secs(1 << 26))));
    let mut set = FdSet::new();
    let mut count = 0;
    for other in others {
        set.insert(other);
        count = count.max(other.as_raw_fd() + 1);
    }
    // An error (EINTR) is a wait that ended early: the caller looks for signals and waits again.
    let ready = pselect(count, &mut set, None, None, timeout.as_ref(), mask);
    ready.is_ok_and(|ready| ready > 0)
}

fn noting() -> SigAction {
    SigAction::new(SigHandler::SigAction(note), SaFlags::SA_RESTART, SigSet::all())
}

fn is_any_noted() -> bool {
    NOTED.iter().any(|noted| noted.load(Ordering::Relaxed) != 0)
}

/// pselect(2) knows descriptors by their place in a set of fixed size.
fn check_number(descriptor: RawFd) -> io::Result<()> {
    match usize::try_from(descriptor) {
        Ok(number) if number < FD_SETSIZE => Ok(()),
        _ => Err(of_call("pselect(2)")(io::Error::other(format!(
            "it can wait for descriptors below {FD_SETSIZE} only, and the lowest free one was {descriptor}: \
             open fewer before the start"
        )))),
    }
}

extern "C" fn note(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel calls a SA_SIGINFO handler with a pointer to a siginfo_t that is valid during the call.
    let info = unsafe { &*info };
    let noted = match sender(info) {
        Sent::By(pid) => ARRIVED | u64::from(pid as u32),
        Sent::ByKernel => BY_KERNEL,
    };
    if let Some(slot) = NOTED.get(signal as usize) {
        slot.store(noted, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_fits_no_set_is_refused() {
        assert!(check_number(0).is_ok());
        assert!(check_number(FD_SETSIZE as RawFd - 1).is_ok());
        let error = check_number(FD_SETSIZE as RawFd).expect_err("it does not fit");
        assert!(error.to_string().contains("open fewer"), "{error}");
        assert!(check_number(RawFd::MAX).is_err());
        assert!(check_number(-1).is_err());
    }
}
