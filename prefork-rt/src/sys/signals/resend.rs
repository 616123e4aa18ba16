//! Sends a signal that this process has read to itself once more, as if by its sender: rt_sigqueueinfo(2), kill(2).
#![allow(unsafe_code)]

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::ffi::c_int;

use super::Received;
use crate::sys::getpid;
use crate::sys::process::send;

/// Makes a signal pending again. The signal is blocked, so it waits for the next read in this process, or in the program that
/// this process becomes. Where the system does not let a process name the sender, the sender is this process.
pub(crate) fn resend(received: &Received) {
    if !with_its_sender(received) {
        let sent = send(getpid().as_raw(), received.signal);
        // It cannot fail: the signal is one that has arrived, and a process may send itself any signal.
        debug_assert!(sent.is_ok(), "{sent:?}");
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn with_its_sender(received: &Received) -> bool {
    use super::Sent;
    use super::received::sender;

    let (code, pid) = match received.sent {
        Sent::By(pid) => (libc::SI_USER, pid),
        Sent::ByKernel | Sent::ForChild(_) => (libc::SI_KERNEL, 0),
    };
    let info = info(received.signal, code, pid);
    // Some architectures have the fields in another order.
    if sender(&info) != received.sent || info.si_signo != received.signal {
        return false;
    }
    let own = getpid().as_raw();
    // SAFETY: rt_sigqueueinfo(2) reads one siginfo_t through the pointer, which points to a live local of that type. A process
    // may send itself any code.
    let sent = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, own, received.signal, &raw const info) };
    sent == 0
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn info(signal: c_int, code: c_int, pid: i32) -> libc::siginfo_t {
    /// The fields that sigaction(2) describes for a signal by kill(2). The last two are where a pointer could be.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Sender {
        pid: libc::pid_t,
        uid: libc::uid_t,
        alignment: [usize; 0],
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Fields {
        signal: c_int,
        errno: c_int,
        code: c_int,
        sender: Sender,
    }
    #[repr(C)]
    union Info {
        fields: Fields,
        whole: libc::siginfo_t,
    }
    // SAFETY: a siginfo_t consists of numbers, and of pointers that may be null: all can be zeros.
    let mut info = Info { whole: unsafe { std::mem::MaybeUninit::zeroed().assume_init() } };
    info.fields = Fields { signal, errno: 0, code, sender: Sender { pid, uid: 0, alignment: [] } };
    // SAFETY: all of it was zeros, and numbers have replaced some of them.
    unsafe { info.whole }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn with_its_sender(_: &Received) -> bool {
    false
}
