//! The clocks of heartbeats and of service managers.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::time::Duration;

/// The time of the kernel's last tick, at most 10 ms ago. Reading it takes no system call.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(prefork_portable)))]
const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
#[cfg(any(not(any(target_os = "linux", target_os = "android")), prefork_portable))]
const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Monotonic milliseconds, which all processes share and which begin again at 0 every 49 days: clock_gettime(2).
/// Async-signal-safe.
#[inline]
pub(crate) fn milliseconds() -> u32 {
    // Linux has had this clock since 2.6.32.
    let now = time_of(CLOCK);
    // Both wrap where an u32 does.
    (now.tv_sec as u32).wrapping_mul(1000).wrapping_add(now.tv_nsec as u32 / 1_000_000)
}

/// CLOCK_MONOTONIC, which all processes share: clock_gettime(2).
pub(crate) fn monotonic() -> Duration {
    let now = time_of(libc::CLOCK_MONOTONIC);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// 0 for a clock that the kernel does not have.
#[inline]
fn time_of(clock: libc::clockid_t) -> libc::timespec {
    let mut now = timespec(Duration::ZERO);
    // SAFETY: clock_gettime(2) writes one timespec through the pointer, which is a borrow of a live local.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now
}

/// A time, for a system call.
#[inline]
pub(super) fn timespec(time: Duration) -> libc::timespec {
    // SAFETY: a timespec consists of numbers, of which all can be zeros. On some systems it also has padding without a name.
    let mut spec: libc::timespec = unsafe { MaybeUninit::zeroed().assume_init() };
    (spec.tv_sec, spec.tv_nsec) = (time.as_secs() as _, time.subsec_nanos() as _);
    spec
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_goes_on() {
        let (start, deadline) = (milliseconds(), Instant::now() + Duration::from_secs(10));
        while milliseconds().wrapping_sub(start) < 20 {
            assert!(Instant::now() < deadline, "the clock stands still");
        }
    }
}
