//! The reasons why a socket cannot be bound at a path, and what to do.

use std::io::{self, ErrorKind};

use crate::listen::attempt::Refusal;

pub(super) const WRITABLE: &str = "this user must be able to write to the directory";

pub(super) fn advise(advice: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |source| Refusal { source, advice }
}

pub(super) fn in_use() -> Refusal {
    Refusal { source: io::Error::from_raw_os_error(libc::EADDRINUSE), advice: "another process listens there" }
}

pub(super) fn no_socket() -> Refusal {
    Refusal {
        source: io::Error::new(ErrorKind::AlreadyExists, "there is a file of this name that is no socket"),
        advice: "remove it, or choose another path",
    }
}
