//! What every Unix has in the place of O_PATH and renameat2(2).

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::calls::lstatat;

pub(super) const SEARCHED: c_int = libc::O_RDONLY;

pub(super) fn entry(at: BorrowedFd<'_>, name: &CStr) -> io::Result<(libc::stat, Option<OwnedFd>)> {
    Ok((lstatat(at, name)?, None))
}

pub(super) fn rename_to_free(_: BorrowedFd<'_>, _: &CStr, _: BorrowedFd<'_>, _: &CStr) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

pub(super) fn set_owner(_: BorrowedFd<'_>, _: Option<u32>, _: Option<u32>) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
