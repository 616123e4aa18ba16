//! Blocked signals are let in only while pselect(2) waits, and noted by a handler that does nothing else: POSIX alone.
//!
//! For systems without signalfd(2). On Linux it is compiled, and tested, with `--cfg prefork_portable`.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::select::pselect;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::sys::time::TimeSpec;

use super::{Received, Sent, queued, set_disposition};

/// Per signal: 0 when it has not arrived, else [`ARRIVED`] with the sender's process id, or [`BY_KERNEL`].
static NOTED: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];
const ARRIVED: u64 = 1 << 32;
const BY_KERNEL: u64 = 1 << 33;

/// The signals that arrived and were not read yet.
pub(crate) struct SignalQueue {
    before: Vec<(Signal, SigAction)>,
    /// The mask during a wait.
    open_mask: SigSet,
}

impl SignalQueue {
    /// Queues the supervisor's signals, which are blocked already.
    pub(crate) fn open() -> io::Result<SignalQueue> {
        let action = SigAction::new(SigHandler::SigAction(note), SaFlags::SA_RESTART, SigSet::all());
        let mut queue = SignalQueue { before: Vec::new(), open_mask: SigSet::thread_get_mask()? };
        for signal in queued()? {
            queue.before.push((signal, set_disposition(signal, &action)?));
            queue.open_mask.remove(signal);
        }
        Ok(queue)
    }

    /// Leaves signals as they were before `open`. In a worker.
    pub(crate) fn close(self) -> io::Result<()> {
        for (signal, action) in &self.before {
            set_disposition(*signal, action)?;
        }
        Ok(())
    }

    /// The next signal, without waiting.
    pub(crate) fn read(&mut self) -> Option<Received> {
        self.noted().or_else(|| {
            self.let_in(Some(Duration::ZERO));
            self.noted()
        })
    }

    /// Waits until a signal has arrived or the time is over. May return early.
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        if NOTED.iter().all(|noted| noted.load(Ordering::Relaxed) == 0) {
            self.let_in(timeout);
        }
    }

    fn noted(&self) -> Option<Received> {
        self.before.iter().find_map(|&(signal, _)| {
            let sent = match NOTED[signal as usize].swap(0, Ordering::Relaxed) {
                0 => return None,
                BY_KERNEL => Sent::ByKernel,
                noted => Sent::By((noted - ARRIVED) as i32),
            };
            Some(Received { signal, sent })
        })
    }

    fn let_in(&self, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| TimeSpec::from(timeout.min(Duration::from_secs(1 << 26))));
        // An error (EINTR) is a wait that ended early: the caller looks for signals and waits again.
        let _ = pselect(0, None, None, None, timeout.as_ref(), &self.open_mask);
    }
}

extern "C" fn note(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel calls a SA_SIGINFO handler with a pointer to a siginfo_t that is valid during the call.
    let info = unsafe { &*info };
    let noted = if info.si_code <= 0 {
        // SAFETY: a code of 0 or less says that a process sent the signal, and then the process id is filled in.
        ARRIVED | u64::from(unsafe { info.si_pid() } as u32)
    } else {
        BY_KERNEL
    };
    if let Some(slot) = NOTED.get(signal as usize) {
        slot.store(noted, Ordering::Relaxed);
    }
}
