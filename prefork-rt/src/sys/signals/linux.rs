//! Blocked signals are read from a descriptor: signalfd(2).

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use super::{Received, Sent, queued};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The signals that arrived and were not read yet.
pub(crate) struct SignalQueue {
    descriptor: SignalFd,
}

impl SignalQueue {
    /// Queues the supervisor's signals, which are blocked already.
    pub(crate) fn open() -> io::Result<SignalQueue> {
        let signals = queued()?.into_iter().collect();
        let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(SignalQueue { descriptor })
    }

    /// Leaves signals as they were before `open`. In a worker.
    pub(crate) fn close(self) -> io::Result<()> {
        drop(self.descriptor);
        Ok(())
    }

    /// The next signal, without waiting.
    pub(crate) fn read(&mut self) -> Option<Received> {
        // A read that finds nothing sets errno, and after a fork that copies the page in which it lies.
        if self.ready_within(Some(Duration::ZERO)) == Ok(0) {
            return None;
        }
        let info = self.descriptor.read_signal().ok()??;
        let sent = if info.ssi_code <= 0 { Sent::By(info.ssi_pid as i32) } else { Sent::ByKernel };
        let signal = Signal::try_from(info.ssi_signo as i32).ok()?;
        Some(Received { signal, sent })
    }

    /// Waits until a signal has arrived or the time is over. May return early.
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        // An error (EINTR, ENOMEM) is a wait that ended early: the caller looks for signals and waits again.
        if let Err(Errno::EINVAL) = self.ready_within(timeout) {
            // RLIMIT_NOFILE is 0, and poll(2) looks at no descriptor then: look again in a while.
            std::thread::sleep(timeout.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
        }
    }

    /// How many descriptors can be read, of one.
    fn ready_within(&self, timeout: Option<Duration>) -> nix::Result<i32> {
        let mut queue = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        // A kernel takes no more seconds than fit its own clock; a wait that long may as well end early.
        let timeout = timeout.map(|timeout| TimeSpec::from(timeout.min(Duration::from_secs(1 << 30))));
        ppoll(&mut queue, timeout, None)
    }
}
