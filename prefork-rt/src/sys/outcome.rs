//! What a system call has returned, as a [`Result`]: -1 stands for an error, whose number is in errno.

use std::ffi::c_int;
use std::io;

/// The value that a call has returned, or its error. Call it right after the call, because another one may change errno.
/// Async-signal-safe.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(super) fn checked<T: From<i8> + PartialEq>(returned: T) -> io::Result<T> {
    if returned == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// Makes a call again as long as a signal has interrupted it.
#[inline]
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if is(&error, libc::EINTR) => {}
            outcome => return outcome,
        }
    }
}

/// Whether it is the error with this number.
#[inline]
pub(super) fn is(error: &io::Error, number: c_int) -> bool {
    error.raw_os_error() == Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minus_one_is_an_error() {
        for value in [0, 1, -2, c_int::MAX] {
            assert_eq!(checked(value).expect("a value"), value);
        }
        errno::set_errno(errno::Errno(libc::EXDEV));
        let errors = [checked(-1_i32).map(drop), checked(-1_i64).map(drop), checked(-1_isize).map(drop)];
        assert!(errors.iter().all(|error| error.as_ref().is_err_and(|error| is(error, libc::EXDEV))));
    }

    #[test]
    fn an_interrupted_call_is_made_again_and_no_other() {
        let mut errors = [libc::EINTR, libc::EINTR, libc::EAGAIN].map(io::Error::from_raw_os_error).into_iter();
        let outcome: io::Result<()> = uninterrupted(|| Err(errors.next().expect("it has ended before")));
        assert!(is(&outcome.expect_err("the last one"), libc::EAGAIN));
    }
}
