//! The names of signals.

use std::ffi::c_int;

use super::Signal;

/// `SIGSEGV`, `SIGRTMIN+3`, or `signal 33` for a number without a name.
pub(crate) fn signal_name(signal: c_int) -> String {
    if let Ok(signal) = Signal::try_from(signal) {
        return signal.as_str().to_owned();
    }
    match signal - real_time_minimum() {
        0 => "SIGRTMIN".to_owned(),
        offset if offset > 0 => format!("SIGRTMIN+{offset}"),
        _ => format!("signal {signal}"),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn real_time_minimum() -> c_int {
    libc::SIGRTMIN()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn real_time_minimum() -> c_int {
    c_int::MAX
}
