//! Mapping memory where nothing is mapped: mmap(2). It must not know what the memory is for.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;

pub(super) const READ_WRITE: c_int = libc::PROT_READ | libc::PROT_WRITE;

/// Maps a file from `first_byte` on, or, where `file` is -1 and the flags have MAP_ANON, fresh memory. At least one byte. It
/// begins at `place` if that is free, and else anywhere. The flags must not have MAP_FIXED, which takes what is in use.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(super) fn map(
    place: *mut c_void,
    length: usize,
    access: c_int,
    flags: c_int,
    file: RawFd,
    first_byte: libc::off_t,
) -> io::Result<NonNull<u8>> {
    // SAFETY: mmap(2) without MAP_FIXED takes a place where nothing is mapped, so no memory in use changes: "If another mapping
    // already exists there, the kernel picks a new address".
    match unsafe { libc::mmap(place, length, access, flags, file, first_byte) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        start => NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into()),
    }
}
