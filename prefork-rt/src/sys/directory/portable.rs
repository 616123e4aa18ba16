//! What every Unix has in the place of O_PATH and renameat2(2).

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, fstatat};
use nix::unistd::{Gid, Uid};

pub(super) const SEARCHED: OFlag = OFlag::O_RDONLY;

pub(super) fn entry(at: BorrowedFd<'_>, name: &CStr) -> Result<(FileStat, Option<OwnedFd>), Errno> {
    Ok((fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW)?, None))
}

pub(super) fn rename_to_free(_: BorrowedFd<'_>, _: &CStr, _: BorrowedFd<'_>, _: &CStr) -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}

pub(super) fn set_owner(_: BorrowedFd<'_>, _: Option<Uid>, _: Option<Gid>) -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}
