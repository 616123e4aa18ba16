//! How many descriptors this process may still open.
#![allow(unsafe_code)]

use std::io;

use super::outcome::checked;
use super::threads::descriptors;

/// How many more descriptors this process may open: RLIMIT_NOFILE without those that are open, where /proc lists them.
pub(crate) fn free_descriptors() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes one structure through the pointer, which is to a live local of that type.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX).saturating_sub(descriptors().len()))
}
