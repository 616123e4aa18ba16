//! Which call an error is of, so that its report can name the call.

use std::error::Error;
use std::fmt;
use std::io;

/// An error, and the call that returned it.
#[derive(Debug)]
pub(crate) struct CallError {
    /// The name of its manual page: `pipe(2)`.
    pub(crate) call: &'static str,
    pub(crate) source: io::Error,
}

/// Adds the name of the call to an error, unless the error names one already.
pub(crate) fn of_call<E: Into<io::Error>>(call: &'static str) -> impl Fn(E) -> io::Error {
    move |error| {
        let CallError { call, source } = CallError::of(error.into(), call);
        io::Error::new(source.kind(), CallError { call, source })
    }
}

/// The number of an error, whether or not it names its call.
pub(crate) fn errno(error: &io::Error) -> Option<i32> {
    let named = || error.get_ref()?.downcast_ref::<CallError>()?.source.raw_os_error();
    error.raw_os_error().or_else(named)
}

impl CallError {
    /// With the call that the error names, or else with this one.
    pub(crate) fn of(error: io::Error, call: &'static str) -> CallError {
        error.downcast().unwrap_or_else(|source| CallError { call, source })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.call, self.source)
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_that_failed_keeps_its_name() {
        let full = || io::Error::from_raw_os_error(libc::EMFILE);
        let error = of_call("mmap(2)")(of_call("pipe(2)")(full()));
        assert_eq!(error.to_string(), format!("pipe(2) failed: {}", full()));
        assert_eq!((error.kind(), errno(&error)), (full().kind(), Some(libc::EMFILE)));
        assert_eq!(errno(&full()), Some(libc::EMFILE));
        assert_eq!(CallError::of(error, "mmap(2)").call, "pipe(2)");
        assert_eq!(CallError::of(full(), "mmap(2)").call, "mmap(2)");
    }
}
