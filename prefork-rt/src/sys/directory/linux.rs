//! Files that are opened by their place alone (O_PATH), and renameat2(2).
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::{Gid, Uid, fchownat};

/// How to open a directory only to look up names in it, which takes no right to read it.
pub(super) const SEARCHED: OFlag = OFlag::O_PATH;

const RENAME_NOREPLACE: libc::c_uint = 1;

pub(super) fn entry(at: BorrowedFd<'_>, name: &CStr) -> Result<(FileStat, Option<OwnedFd>), Errno> {
    let opened = openat(at, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok((fstat(&opened)?, Some(opened)))
}

pub(super) fn rename_to_free(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, new: &CStr) -> Result<(), Errno> {
    // musl has no function for this call.
    // SAFETY: renameat2(2) reads two strings that end with a null byte, and both live until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            from.as_raw_fd(),
            name.as_ptr(),
            to.as_raw_fd(),
            new.as_ptr(),
            RENAME_NOREPLACE,
        )
    };
    Errno::result(result).map(drop)
}

pub(super) fn set_owner(file: BorrowedFd<'_>, owner: Option<Uid>, group: Option<Gid>) -> Result<(), Errno> {
    fchownat(file, c"", owner, group, AtFlags::AT_EMPTY_PATH)
}
