//! A timer that is a descriptor, for waits that are shorter than the steps of an async runtime's timers: timerfd_create(2).
//!
//! It must not know what is waited for.
#![allow(unsafe_code)]

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use linux::Timer;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use portable::Timer;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
    use std::ptr;
    use std::time::Duration;

    use crate::sys::clock::timespec;
    use crate::sys::descriptor;
    use crate::sys::outcome::checked;

    /// A timer that is over once for each start. Its descriptor is readable when it is.
    pub(crate) struct Timer(File);

    impl Timer {
        /// timerfd_create(2).
        pub(crate) fn new() -> io::Result<Timer> {
            // SAFETY: timerfd_create(2) takes two numbers and touches no memory.
            let made = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
            // SAFETY: timerfd_create(2) returns a new descriptor, which nothing else owns, or -1.
            Ok(Timer(unsafe { descriptor::made(made) }?.into()))
        }

        /// Starts it anew, whatever it did before: timerfd_settime(2).
        pub(crate) fn start(&self, duration: Duration) -> io::Result<()> {
            let once = libc::itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(duration) };
            // SAFETY: timerfd_settime(2) reads one structure through the first pointer, which is to a live local of that type,
            // and writes nothing through the second, which is null.
            let set = unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const once, ptr::null_mut()) };
            checked(set).map(drop)
        }

        /// Whether it is over: read(2). Before that, an error of the kind [`io::ErrorKind::WouldBlock`].
        pub(crate) fn take_end(&self) -> io::Result<()> {
            // It returns how often the timer was over: eight bytes.
            (&self.0).read_exact(&mut [0; 8])
        }
    }

    impl AsFd for Timer {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl AsRawFd for Timer {
        fn as_raw_fd(&self) -> RawFd {
            self.as_fd().as_raw_fd()
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable {
    use std::convert::Infallible;
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
    use std::time::Duration;

    /// There is none.
    pub(crate) struct Timer(Infallible);

    impl Timer {
        pub(crate) fn new() -> io::Result<Timer> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn start(&self, _: Duration) -> io::Result<()> {
            match self.0 {}
        }

        pub(crate) fn take_end(&self) -> io::Result<()> {
            match self.0 {}
        }
    }

    impl AsFd for Timer {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self.0 {}
        }
    }

    impl AsRawFd for Timer {
        fn as_raw_fd(&self) -> RawFd {
            match self.0 {}
        }
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::io::ErrorKind;
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sys;

    #[test]
    fn it_is_over_once_for_each_start_and_not_before() {
        let timer = Timer::new().unwrap();
        let is_over = || timer.take_end().map_err(|error| error.kind());
        assert_eq!(is_over(), Err(ErrorKind::WouldBlock), "it was not started");
        for microseconds in [300, 50] {
            let (length, start) = (Duration::from_micros(microseconds), Instant::now());
            timer.start(length).unwrap();
            while is_over() == Err(ErrorKind::WouldBlock) {
                assert!(start.elapsed() < Duration::from_secs(60));
            }
            assert!(start.elapsed() >= length);
            assert_eq!(is_over(), Err(ErrorKind::WouldBlock));
        }
    }

    #[test]
    fn a_start_forgets_the_end_of_the_one_before() {
        let timer = Timer::new().unwrap();
        timer.start(Duration::from_micros(1)).unwrap();
        assert!(sys::wait_readable(timer.as_fd(), Some(Duration::from_secs(60))));
        timer.start(Duration::from_secs(3600)).unwrap();
        assert_eq!(timer.take_end().map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    }
}
