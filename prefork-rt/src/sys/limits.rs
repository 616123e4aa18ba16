//! How many descriptors this process may still open.

use std::io;

use nix::sys::resource::{Resource, getrlimit};

use super::threads::descriptors;

/// How many more descriptors this process may open: RLIMIT_NOFILE without those that are open, where /proc lists them.
pub(crate) fn free_descriptors() -> io::Result<usize> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(soft).unwrap_or(usize::MAX).saturating_sub(descriptors().len()))
}
