//! The output streams of C code in this process.
#![allow(unsafe_code)]

/// Writes what C code has left in the buffers of its streams: fflush(3). A fork would copy it. An error stays with the
/// stream.
pub(crate) fn flush_c_stdio() {
    // SAFETY: fflush(3) with a null argument flushes every open output stream and takes no pointer of ours.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
