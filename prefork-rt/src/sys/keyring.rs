//! The session keyring: session-keyring(7).
#![allow(unsafe_code)]

use std::io;

/// Gives this process an empty session keyring in the place of the one that it has inherited: keyctl(2) with
/// KEYCTL_JOIN_SESSION_KEYRING. Does nothing where the system has no keyrings.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: std::ffi::c_int = 1;
    let no_name: *const std::ffi::c_char = std::ptr::null();
    // SAFETY: keyctl(2) with this operation takes the name of a keyring, or a null pointer for one that has none.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, no_name) };
    super::outcome::checked(joined).map(drop).map_err(super::of_call("keyctl(2)"))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    Ok(())
}
