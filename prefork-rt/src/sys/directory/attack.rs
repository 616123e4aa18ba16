//! What an attacker does, for tests of other folders, which have no `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes this thread, and no other one of the process, another user for good. Returns `false` where it may not.
pub(crate) fn become_user(id: u32) -> bool {
    // The C library's functions would change every thread.
    // SAFETY: setgroups(2) reads no list where its length is 0.
    let groups = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) };
    // SAFETY: setresgid(2) takes three numbers and touches no memory.
    let group = unsafe { libc::syscall(libc::SYS_setresgid, id, id, id) };
    // SAFETY: setresuid(2) takes three numbers and touches no memory.
    let user = unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) };
    [groups, group, user] == [0; 3]
}

/// Exchanges the names of two files: renameat2(2).
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let [one, other] = [one, other].map(|path| CString::new(path.as_os_str().as_bytes()).expect("no null"));
    // SAFETY: renameat2(2) reads two strings that end with a null byte; both live until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
