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
    /// The kernel, because the child with this id has ended, stopped or gone on. The kernel drops a SIGCHLD that comes while
    /// one waits to be read, so others may have ended, too.
    ForChild(i32),
    /// A process with this id.
    By(i32),
}

/// The sender of a signal. Async-signal-safe.
pub(super) fn sender(info: &libc::siginfo_t) -> Sent {
    // SAFETY: where a process has sent the signal, or it is for a child, the kernel has filled in the id. Otherwise initialized
    // bytes of another field are there, which `sender_by` does not use.
    sender_by(info.si_signo, info.si_code, unsafe { info.si_pid() })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn sender_by(signal: c_int, code: c_int, pid: i32) -> Sent {
    match code {
        libc::CLD_EXITED..=libc::CLD_CONTINUED if signal == libc::SIGCHLD => Sent::ForChild(pid),
        libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL | libc::SI_MESGQ => Sent::By(pid),
        // Other codes below 0 are those of timers and files, for which the kernel sends the signal.
        _ => Sent::ByKernel,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn sender_by(signal: c_int, code: c_int, pid: i32) -> Sent {
    match code {
        1.. if signal == libc::SIGCHLD => Sent::ForChild(pid),
        1.. => Sent::ByKernel,
        _ => Sent::By(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_that_the_kernel_signals_for_is_told_from_a_sender() {
        for code in [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED, libc::CLD_STOPPED, libc::CLD_CONTINUED] {
            assert_eq!(sender_by(libc::SIGCHLD, code, 7), Sent::ForChild(7));
        }
        assert_eq!(sender_by(libc::SIGCHLD, libc::SI_USER, 7), Sent::By(7));
        // Codes above 0 mean something else for each signal.
        assert_eq!(sender_by(libc::SIGHUP, libc::CLD_EXITED, 7), Sent::ByKernel);
    }
}
