//! Blocked signals are read from a descriptor: signalfd(2).

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use crate::sys::mask::Set;
use crate::sys::{Fork, SingleThread, of_call};

use super::{MOST_OTHERS, Ready, Received, lists, numbers, queued, sender, sender_by};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The signals that arrived and were not read yet.
pub(crate) struct SignalQueue {
    descriptor: SignalFd,
    /// Those of its signals that stop the pool.
    stops: Set,
}

impl SignalQueue {
    /// Queues the supervisor's signals, which are blocked already. Any `other` can be waited for besides.
    pub(crate) fn open(_other: Option<BorrowedFd<'_>>) -> io::Result<SignalQueue> {
        let signals = Set::of(queued()?);
        let stops = Set::of(numbers(lists().stops).filter(|&stop| signals.contains(stop)));
        let signals = signals.for_nix();
        let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        let descriptor = descriptor.map_err(of_call("signalfd(2)"))?;
        Ok(SignalQueue { descriptor, stops })
    }

    /// fork(2). The new process has the dispositions that were there before.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn fork(&self, single_thread: SingleThread) -> io::Result<Fork> {
        crate::sys::fork(single_thread)
    }

    /// Leaves signals as they were before `open`. In a worker.
    pub(crate) fn close(self) -> io::Result<()> {
        drop(self.descriptor);
        Ok(())
    }

    /// Which signals were ignored before `open`, and exec(2) does not keep so: none.
    pub(crate) fn to_hand_over(&self) -> Vec<i32> {
        Vec::new()
    }

    /// The other way round.
    pub(crate) fn hand_over(&mut self, _ignored: &[i32]) {}

    /// The next signal, without waiting. Only when `ready` told of one: a read that finds nothing sets errno, and after
    /// a fork that copies the page in which it lies.
    pub(crate) fn read(&mut self) -> Option<Received> {
        let info = self.descriptor.read_signal().ok()??;
        Some(Received { signal: info.ssi_signo as c_int, sent: sender_by(info.ssi_code, info.ssi_pid as i32) })
    }

    /// The next signal that stops the pool, without waiting: signalfd(2) gives the lowest signal first, and one that
    /// comes again and again hides all others.
    pub(crate) fn read_stop(&mut self) -> Option<Received> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let at_once = TimeSpec::from(Duration::ZERO);
        // SAFETY: sigtimedwait(2) reads the set and the time and writes one structure through the pointer, which are all
        // live, and initialized where they are read; the signals are blocked, as sigwaitinfo(2) asks.
        let signal = unsafe { libc::sigtimedwait(self.stops.raw(), info.as_mut_ptr(), at_once.as_ref()) };
        if signal <= 0 {
            return None;
        }
        // SAFETY: sigtimedwait(2) returned a signal, so it has written the structure.
        let info = unsafe { info.assume_init() };
        Some(Received { signal, sent: sender(&info) })
    }

    /// Whether [`ready`](SignalQueue::ready) can wait for this one.
    pub(crate) fn check(_other: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Waits until a signal has arrived, or one of the [`MOST_OTHERS`] others can be read or is at its end, or the time is
    /// over: ppoll(2). May return early, and tell of what is not there; the others are non-blocking therefore.
    pub(crate) fn ready<'a>(
        &self,
        others: impl IntoIterator<Item = BorrowedFd<'a>>,
        timeout: Option<Duration>,
    ) -> Ready {
        let mut asked = [self.descriptor.as_fd(); 1 + MOST_OTHERS].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let mut count = 1;
        for (place, other) in asked[1..].iter_mut().zip(others) {
            *place = PollFd::new(other, PollFlags::POLLIN);
            count += 1;
        }
        let asked = &mut asked[..count];
        // A kernel takes no more seconds than fit its own clock; a wait that long may as well end early.
        let limited = timeout.map(|timeout| TimeSpec::from(timeout.min(Duration::from_secs(1 << 30))));
        match ppoll(asked, limited, None) {
            Ok(_) => {
                let ready = |asked: &PollFd<'_>| asked.any() != Some(false);
                Ready { signals: ready(&asked[0]), other: asked[1..].iter().any(ready) }
            }
            Err(error) => {
                if error == Errno::EINVAL {
                    // RLIMIT_NOFILE is too low for poll(2) to look at so many: look again in a while.
                    std::thread::sleep(timeout.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
                }
                // Or EINTR, ENOMEM: it says nothing, so the caller looks for itself, and waits again.
                Ready { signals: true, other: count > 1 }
            }
        }
    }
}
