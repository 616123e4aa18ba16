//! Files that are opened by their place alone (O_PATH), and renameat2(2).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::calls::{fchownat, openat};
use crate::sys::descriptor;
use crate::sys::outcome::checked;

/// How to open a directory only to look up names in it, which takes no right to read it.
pub(super) const SEARCHED: c_int = libc::O_PATH;

const RENAME_NOREPLACE: libc::c_uint = 1;

pub(super) fn entry(at: BorrowedFd<'_>, name: &CStr) -> io::Result<(libc::stat, Option<OwnedFd>)> {
    let opened = openat(at, name, libc::O_PATH | libc::O_NOFOLLOW)?;
    Ok((descriptor::status(opened.as_raw_fd())?, Some(opened)))
}

pub(super) fn rename_to_free(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, new: &CStr) -> io::Result<()> {
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
    checked(result).map(drop)
}

pub(super) fn set_owner(file: BorrowedFd<'_>, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    fchownat(file, c"", owner, group, libc::AT_EMPTY_PATH)
}
