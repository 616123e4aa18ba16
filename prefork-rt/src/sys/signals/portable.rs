//! Lets blocked signals in only while pselect(2) waits, and has a handler note them. It needs POSIX only.
//!
//! For systems without signalfd(2). On Linux it is compiled, and tested, with `--cfg prefork_portable`.
#![allow(unsafe_code)]

use std::array;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use libc::FD_SETSIZE;

use crate::sys::clock::timespec;
use crate::sys::{Fork, SingleThread, of_call};

use super::disposition::Disposition;
use super::lists::{lists, numbers};
use super::notes::Notes;
use super::received::sender;
use super::set::{Set, mask};
use super::{AT_ONCE, MOST_OTHERS, Ready, Received};

static NOTES: Notes = Notes::new();

/// The signals that have arrived and were not read yet.
pub(crate) struct SignalQueue {
    before: Vec<(c_int, Disposition)>,
    /// The mask during a wait that lets in all queued signals.
    open_mask: Set,
    /// The signals that stop the pool.
    stops: Set,
    /// The mask during a wait that lets in the signals in `stops` alone.
    stops_mask: Set,
}

impl SignalQueue {
    /// Queues these signals, which [`Mask::block`](super::Mask::block) has blocked. Fails when [`ready`](SignalQueue::ready)
    /// cannot wait for `other` besides.
    pub(crate) fn open(queued: &[c_int], other: Option<BorrowedFd<'_>>) -> io::Result<SignalQueue> {
        if let Some(other) = other {
            check_number(other.as_raw_fd())?;
        }
        let action = Disposition::handler(note);
        let mask = mask()?;
        let stops = Set::of(numbers(lists().stops));
        let mut queue = SignalQueue { before: Vec::new(), open_mask: mask, stops, stops_mask: mask };
        for &signal in queued {
            queue.before.push((signal, action.set(signal)?));
            queue.open_mask.remove(signal);
            if stops.contains(signal) {
                queue.stops_mask.remove(signal);
            }
        }
        Ok(queue)
    }

    /// fork(2). Signals that arrive meanwhile are blocked, and stay pending in this process.
    pub(crate) fn fork(&self, single_thread: SingleThread) -> io::Result<Fork> {
        crate::sys::fork(single_thread)
    }

    /// Restores signals as they were before `open`.
    pub(crate) fn restore(&self) -> io::Result<()> {
        for (signal, action) in &self.before {
            action.set(*signal)?;
        }
        Ok(())
    }

    /// Restores signals as they were before `open`, and returns the descriptor to close: none. In a worker.
    pub(crate) fn into_descriptor(self) -> io::Result<Option<OwnedFd>> {
        self.restore().map(|()| None)
    }

    /// The signals that were ignored before `open`. They are caught now, so exec(2) will give them their default action.
    pub(crate) fn handoff(&self) -> Vec<i32> {
        self.before.iter().filter(|(_, action)| action.is_ignored()).map(|&(signal, _)| signal).collect()
    }

    /// Takes these signals as ignored before `open`, which has found what exec(2) had left.
    pub(crate) fn adopt(&mut self, ignored: &[i32]) {
        for (signal, before) in &mut self.before {
            if ignored.contains(signal) {
                *before = Disposition::ignore();
            }
        }
    }

    /// The next signal, without waiting.
    pub(crate) fn read(&mut self) -> [Option<Received>; AT_ONCE] {
        array::from_fn(|_| self.next(|_| true, &self.open_mask))
    }

    /// The next signal that stops the pool, without waiting. One wait lets one signal in, the lowest, so a signal that comes
    /// again and again would hide all others.
    pub(crate) fn read_stop(&mut self) -> Option<Received> {
        self.next(|signal| self.stops.contains(signal), &self.stops_mask)
    }

    fn next(&self, wanted: impl Fn(c_int) -> bool, mask: &Set) -> Option<Received> {
        self.noted(&wanted).or_else(|| {
            let_in([], Some(Duration::ZERO), mask);
            self.noted(&wanted)
        })
    }

    /// Checks that [`ready`](SignalQueue::ready) can wait for this descriptor.
    pub(crate) fn check(other: BorrowedFd<'_>) -> io::Result<()> {
        check_number(other.as_raw_fd())
    }

    /// Waits until a signal has arrived, or one of the `others`, at most [`MOST_OTHERS`], can be read or is at its end, or the
    /// time is over: pselect(2). It may return early. A signal may hide that one of the others is ready, until the signal is
    /// read.
    pub(crate) fn ready<'a>(
        &self,
        others: impl IntoIterator<Item = BorrowedFd<'a>>,
        timeout: Option<Duration>,
    ) -> Ready {
        let others = others.into_iter().take(MOST_OTHERS);
        let other = let_in(others, if NOTES.is_any() { Some(Duration::ZERO) } else { timeout }, &self.open_mask);
        if other {
            // A kernel that finds a descriptor ready may have let no signal in.
            let_in([], Some(Duration::ZERO), &self.open_mask);
        }
        Ready { signals: NOTES.is_any(), other }
    }

    fn noted(&self, wanted: impl Fn(c_int) -> bool) -> Option<Received> {
        let mut signals = self.before.iter().map(|&(signal, _)| signal).filter(|&signal| wanted(signal));
        signals.find_map(|signal| NOTES.take(signal).map(|sent| Received { signal, sent }))
    }
}

/// Waits with this mask. Returns whether one of the others is ready.
fn let_in<'a>(others: impl IntoIterator<Item = BorrowedFd<'a>>, timeout: Option<Duration>, mask: &Set) -> bool {
    let timeout = timeout.map(|timeout| timespec(timeout.min(Duration::from_secs(1 << 26))));
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: a set of descriptors consists of integers, and zeros are the empty set.
    let mut set: libc::fd_set = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut count = 0;
    for other in others.into_iter().filter(|other| check_number(other.as_raw_fd()).is_ok()) {
        // SAFETY: FD_SET(3) changes a bit of the set, which has one for every number that `check_number` lets pass.
        unsafe { libc::FD_SET(other.as_raw_fd(), &raw mut set) };
        count = count.max(other.as_raw_fd() + 1);
    }
    let (set, none) = (&raw mut set, ptr::null_mut());
    // SAFETY: pselect(2) reads and writes the set of descriptors, and reads the time, if the pointer to it is not null, and the
    // set of signals; all are live.
    let ready = unsafe { libc::pselect(count, set, none, none, timeout, mask.raw()) };
    // An error (EINTR) is a wait that ended early. The caller reads signals and waits again.
    ready > 0
}

/// pselect(2) takes descriptors as a set of fixed size, so it cannot wait for higher numbers.
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
    NOTES.note(signal, sender(unsafe { &*info }));
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
