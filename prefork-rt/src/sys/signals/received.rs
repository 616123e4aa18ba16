//! A signal that arrived, and which process has sent it.
#![allow(unsafe_code)]

use std::ffi::c_int;

/// A signal that arrived, and its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// The number of the signal: signals for real time have no name.
    pub(crate) signal: c_int,
    pub(crate) sent: Sent,
}

/// The sender of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel: for a terminal's key, a terminal that is gone, a timer, or a limit.
    ByKernel,
    /// A process with this id.
    By(i32),
}

/// The sender of a signal. Async-signal-safe.
pub(super) fn sender(info: &libc::siginfo_t) -> Sent {
    // SAFETY: where a process has sent the signal, the kernel has filled in its id. Otherwise initialized bytes of another
    // field are there, which `sender_by` does not use.
    sender_by(info.si_code, unsafe { info.si_pid() })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn sender_by(code: c_int, pid: i32) -> Sent {
    match code {
        libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL | libc::SI_MESGQ => Sent::By(pid),
        // Other codes below 0 are those of timers and files, for which the kernel sends the signal.
        _ => Sent::ByKernel,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn sender_by(code: c_int, pid: i32) -> Sent {
    if code > 0 { Sent::ByKernel } else { Sent::By(pid) }
}
