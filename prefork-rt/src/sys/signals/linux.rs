//! Reads blocked signals from a descriptor: signalfd(2).
#![allow(unsafe_code)]

use std::array;
use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read};
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use crate::sys::clock::timespec;
use crate::sys::outcome::{checked, is};
use crate::sys::poll::to_read;
use crate::sys::{Fork, SingleThread, descriptor, of_call};

use super::lists::{lists, numbers};
use super::received::{sender, sender_by};
use super::set::Set;
use super::{AT_ONCE, MOST_OTHERS, Ready, Received};

const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The length of what signalfd(2) tells of a signal, in bytes.
const LENGTH: usize = size_of::<libc::signalfd_siginfo>();

/// The signals that have arrived and were not read yet.
pub(crate) struct SignalQueue {
    descriptor: File,
    /// The queued signals that stop the pool.
    stops: Set,
}

impl SignalQueue {
    /// Queues these signals, which [`Mask::block`](super::Mask::block) has blocked. [`ready`](SignalQueue::ready) can wait for
    /// any other descriptor besides.
    pub(crate) fn open(queued: &[c_int], _other: Option<BorrowedFd<'_>>) -> io::Result<SignalQueue> {
        let signals = Set::of(queued.iter().copied());
        let stops = Set::of(numbers(lists().stops).filter(|&stop| signals.contains(stop)));
        // SAFETY: signalfd(2) reads the set, which is initialized and live, and takes numbers.
        let made = unsafe { libc::signalfd(-1, signals.raw(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        // SAFETY: with -1 for a descriptor, signalfd(2) returns a new one, which nothing else owns, or -1.
        let descriptor = unsafe { descriptor::made(made) }.map_err(of_call("signalfd(2)"))?;
        Ok(SignalQueue { descriptor: descriptor.into(), stops })
    }

    /// fork(2). The new process has the dispositions from before `open`.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn fork(&self, single_thread: SingleThread) -> io::Result<Fork> {
        crate::sys::fork(single_thread)
    }

    /// Restores signals as they were before `open`, which has changed none here.
    pub(crate) fn restore(&self) -> io::Result<()> {
        Ok(())
    }

    /// Restores signals as they were before `open`, and returns the descriptor. In a worker, which closes it.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn into_descriptor(self) -> io::Result<Option<OwnedFd>> {
        Ok(Some(self.descriptor.into()))
    }

    /// The signals that were ignored before `open`, and that exec(2) would not leave ignored: none.
    pub(crate) fn handoff(&self) -> Vec<i32> {
        Vec::new()
    }

    /// Takes these signals as ignored before `open`: nothing depends on that here.
    pub(crate) fn adopt(&mut self, _ignored: &[i32]) {}

    /// The next signals, without waiting. Call it only when `ready` has told of one: a read that finds nothing sets errno, and
    /// after a fork that copies the page of errno.
    pub(crate) fn read(&mut self) -> [Option<Received>; AT_ONCE] {
        let mut infos = [0; AT_ONCE * LENGTH];
        let length = (&self.descriptor).read(&mut infos).unwrap_or(0);
        // signalfd(2) writes whole structures.
        let mut received = infos[..length].chunks_exact(LENGTH).map(received);
        array::from_fn(|_| received.next().flatten())
    }

    /// The next signal that stops the pool, without waiting. signalfd(2) returns the lowest signal first, so a signal that
    /// comes again and again would hide all others.
    pub(crate) fn read_stop(&mut self) -> Option<Received> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let at_once = timespec(Duration::ZERO);
        // SAFETY: sigtimedwait(2) reads the set and the time, which are initialized, and writes one structure through the
        // pointer; all three are live. The signals are blocked, as sigwaitinfo(2) requires.
        let signal = unsafe { libc::sigtimedwait(self.stops.raw(), info.as_mut_ptr(), &raw const at_once) };
        if signal <= 0 {
            return None;
        }
        // SAFETY: sigtimedwait(2) returned a signal, so it has written the structure.
        let info = unsafe { info.assume_init() };
        Some(Received { signal, sent: sender(&info) })
    }

    /// Checks that [`ready`](SignalQueue::ready) can wait for this descriptor.
    pub(crate) fn check(_other: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Waits until a signal has arrived, or one of the `others`, at most [`MOST_OTHERS`], can be read or is at its end, or the
    /// time is over: ppoll(2). It may return early, and say that something is ready that is not. So the others must be
    /// non-blocking.
    pub(crate) fn ready<'a>(
        &self,
        others: impl IntoIterator<Item = BorrowedFd<'a>>,
        timeout: Option<Duration>,
    ) -> Ready {
        let mut asked = [to_read(self.descriptor.as_fd()); 1 + MOST_OTHERS];
        let mut count = 1;
        for (place, other) in asked[1..].iter_mut().zip(others) {
            *place = to_read(other);
            count += 1;
        }
        let asked = &mut asked[..count];
        // The kernel refuses more seconds than fit its clock. A wait of this length may as well end early.
        let limited = timeout.map(|timeout| timespec(timeout.min(Duration::from_secs(1 << 30))));
        let limited = limited.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: ppoll(2) reads and writes as many structures as the second argument says, which are the slice's, reads the
        // time, if the pointer to it is not null, and no set of signals.
        match checked(unsafe { libc::ppoll(asked.as_mut_ptr(), asked.len() as libc::nfds_t, limited, ptr::null()) }) {
            Ok(_) => {
                let ready = |asked: &libc::pollfd| asked.revents != 0;
                Ready { signals: ready(&asked[0]), other: asked[1..].iter().any(ready) }
            }
            Err(error) => {
                if is(&error, libc::EINVAL) {
                    // RLIMIT_NOFILE is lower than the number of descriptors, which poll(2) refuses: ask again in a while.
                    std::thread::sleep(timeout.unwrap_or(ASK_AGAIN).min(ASK_AGAIN));
                }
                // This error, EINTR and ENOMEM tell nothing about the descriptors. The caller reads them, and waits again.
                Ready { signals: true, other: count > 1 }
            }
        }
    }
}

/// What a `signalfd_siginfo` says.
fn received(info: &[u8]) -> Option<Received> {
    let number = |at: usize| Some(i32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let signal = number(offset_of!(libc::signalfd_siginfo, ssi_signo))?;
    let code = number(offset_of!(libc::signalfd_siginfo, ssi_code))?;
    let pid = number(offset_of!(libc::signalfd_siginfo, ssi_pid))?;
    Some(Received { signal, sent: sender_by(signal, code, pid) })
}
