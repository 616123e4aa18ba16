//! The system calls that take a directory and a name in it: openat(2) and its family.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsString, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use crate::sys::descriptor::made;
use crate::sys::outcome::checked;

/// openat(2), of a file that exists.
pub(super) fn openat(at: BorrowedFd<'_>, name: &CStr, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: openat(2) reads a text that ends with a zero, which lives until it returns.
    let opened = unsafe { libc::openat(at.as_raw_fd(), name.as_ptr(), flags | libc::O_CLOEXEC) };
    // SAFETY: openat(2) returns a new descriptor, which nothing else owns, or -1.
    unsafe { made(opened) }
}

/// fstatat(2), of a symbolic link itself.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn lstatat(at: BorrowedFd<'_>, name: &CStr) -> io::Result<libc::stat> {
    let mut status = std::mem::MaybeUninit::uninit();
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: fstatat(2) reads a text that ends with a zero, which lives until it returns, and writes one `stat` through the
    // pointer, which is to a live local of that type.
    checked(unsafe { libc::fstatat(at.as_raw_fd(), name.as_ptr(), status.as_mut_ptr(), flags) })?;
    // SAFETY: fstatat(2) has succeeded, so it has written the whole structure.
    Ok(unsafe { status.assume_init() })
}

/// The target of a symbolic link: readlinkat(2). ENAMETOOLONG where it is longer than a path may be.
pub(super) fn readlinkat(at: BorrowedFd<'_>, name: &CStr) -> io::Result<OsString> {
    let mut target = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: readlinkat(2) reads a text that ends with a zero, which lives until it returns, and writes at most as many bytes
    // through the pointer as the last argument says, which is the length of the vector.
    let read = unsafe { libc::readlinkat(at.as_raw_fd(), name.as_ptr(), target.as_mut_ptr().cast(), target.len()) };
    let length = checked(read)? as usize;
    if length == target.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    target.truncate(length);
    Ok(OsString::from_vec(target))
}

/// mkdirat(2).
pub(super) fn mkdirat(at: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t) -> io::Result<()> {
    // SAFETY: mkdirat(2) reads a text that ends with a zero, which lives until it returns.
    checked(unsafe { libc::mkdirat(at.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
}

/// fchmodat(2), which follows a symbolic link.
pub(super) fn fchmodat(at: BorrowedFd<'_>, name: &CStr, mode: libc::mode_t) -> io::Result<()> {
    // SAFETY: fchmodat(2) reads a text that ends with a zero, which lives until it returns.
    checked(unsafe { libc::fchmodat(at.as_raw_fd(), name.as_ptr(), mode, 0) }).map(drop)
}

/// fchownat(2) with these flags. What is `None` stays as it is.
pub(super) fn fchownat(
    at: BorrowedFd<'_>,
    name: &CStr,
    owner: Option<libc::uid_t>,
    group: Option<libc::gid_t>,
    flags: c_int,
) -> io::Result<()> {
    // "If the owner or group is specified as -1, then that ID is not changed."
    let (owner, group) = (owner.unwrap_or(libc::uid_t::MAX), group.unwrap_or(libc::gid_t::MAX));
    // SAFETY: fchownat(2) reads a text that ends with a zero, which lives until it returns.
    checked(unsafe { libc::fchownat(at.as_raw_fd(), name.as_ptr(), owner, group, flags) }).map(drop)
}

/// unlinkat(2): with AT_REMOVEDIR it removes a directory, with 0 any other file.
pub(super) fn unlinkat(at: BorrowedFd<'_>, name: &CStr, flags: c_int) -> io::Result<()> {
    // SAFETY: unlinkat(2) reads a text that ends with a zero, which lives until it returns.
    checked(unsafe { libc::unlinkat(at.as_raw_fd(), name.as_ptr(), flags) }).map(drop)
}

/// renameat(2).
pub(super) fn renameat(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, new: &CStr) -> io::Result<()> {
    // SAFETY: renameat(2) reads two texts that end with a zero, and both live until it returns.
    checked(unsafe { libc::renameat(from.as_raw_fd(), name.as_ptr(), to.as_raw_fd(), new.as_ptr()) }).map(drop)
}

/// linkat(2), which does not follow a symbolic link.
pub(super) fn linkat(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, new: &CStr) -> io::Result<()> {
    // SAFETY: linkat(2) reads two texts that end with a zero, and both live until it returns.
    checked(unsafe { libc::linkat(from.as_raw_fd(), name.as_ptr(), to.as_raw_fd(), new.as_ptr(), 0) }).map(drop)
}
