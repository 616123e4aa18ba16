//! Bytes that are written once and then only read, by this process and those that it forks. A fork copies no entry of the
//! page table for them.
//!
//! It must not know what the bytes mean.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io::{self, Write};
use std::ptr::{self, NonNull};
use std::slice;

pub(crate) use draft::Draft;

#[cfg(all(any(target_os = "linux", target_os = "android"), not(prefork_portable)))]
use super::huge_pages::huge_page_size;
use super::mapping::map;

/// What the list of mappings of a process says of the bytes on Linux: `/memfd:` and this name.
pub(crate) const NAME: &CStr = c"prefork-shared-bytes";

/// A mapping that can only be read. It is unmapped when this is dropped.
#[derive(Debug)]
pub(crate) struct Sealed {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the bytes do not change while they are mapped, so any number of threads may read them, and munmap(2) may be called
// in any thread.
unsafe impl Send for Sealed {}
// SAFETY: as above: a shared reference allows only reading.
unsafe impl Sync for Sealed {}

impl Sealed {
    /// No bytes, for which nothing is mapped.
    const EMPTY: Sealed = Sealed { start: NonNull::dangling(), length: 0 };

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `length` bytes are mapped at `start` until `self` is dropped, and nothing changes them: both variants of
        // `Draft::seal` say why. For no bytes, slice::from_raw_parts takes a dangling pointer.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: munmap(2) removes the mapping that belongs to `self`, to which no reference is left.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        }
    }
}

/// A number of bytes as the length of a slice, which is isize::MAX at most: ENOMEM.
fn length_of_slice(length: u64) -> io::Result<usize> {
    let length = usize::try_from(length).ok().filter(|length| isize::try_from(*length).is_ok());
    length.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(prefork_portable)))]
mod draft {
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd};

    use super::*;
    use crate::sys::outcome::is;
    use crate::sys::{descriptor, memory_file, open_read_only};

    /// Of memfd_create(2). Not every version of the crate `libc` has it for every C library.
    const MFD_NOEXEC_SEAL: libc::c_uint = 8;

    /// Bytes that are being written: memfd_create(2). Programs that this process executes do not inherit the file.
    #[derive(Debug)]
    pub(crate) struct Draft {
        file: File,
    }

    impl Draft {
        pub(crate) fn new() -> io::Result<Draft> {
            let create = |flags| memory_file::create_private(NAME, flags);
            // Before Linux 6.3 the kernel does not know MFD_NOEXEC_SEAL.
            let file = match create(libc::MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) {
                Err(error) if is(&error, libc::EINVAL) => create(libc::MFD_ALLOW_SEALING)?,
                file => file?,
            };
            Ok(Draft { file })
        }

        /// write(2). A limit on the size of files (RLIMIT_FSIZE) is an error, `EFBIG`, and no signal.
        pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            super::super::stderr::without_file_size_signal(|| self.file.write(bytes))
        }

        /// Makes the bytes final and maps them: fcntl(2) with F_ADD_SEALS, mmap(2). The file is closed.
        pub(crate) fn seal(self) -> io::Result<Sealed> {
            self.seal_with(open_read_only)
        }

        /// `reopen` opens the file once more, for reading only.
        pub(super) fn seal_with(self, reopen: impl FnOnce(&File) -> io::Result<File>) -> io::Result<Sealed> {
            let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
            descriptor::add_seals(self.file.as_fd(), seals)?;
            let length = length_of_slice(self.file.metadata()?.len())?;
            if length == 0 {
                return Ok(Sealed::EMPTY);
            }
            // Of a file that is opened for reading only, mprotect(2) makes no writable mapping. And before Linux 6.7 the
            // kernel refuses a shared mapping of a sealed file that is opened for writing. Where there is no /proc to open it
            // again, a private mapping is as good: it has the pages of the file until this process writes, and a fork copies
            // no entries for it.
            let (file, flags) = match reopen(&self.file) {
                Ok(file) => (file, libc::MAP_SHARED),
                Err(_) => (self.file, libc::MAP_PRIVATE),
            };
            // MAP_POPULATE: the supervisor has all pages mapped. The kernel counts a page that one process alone has mapped
            // as private, so the first worker that reads would seem to need memory of its own.
            let flags = flags | libc::MAP_POPULATE;
            let start = map(place_for_huge_pages(length), length, libc::PROT_READ, flags, file.as_raw_fd(), 0)?;
            // No process can change the file: fcntl(2), F_SEAL_WRITE: "you cannot modify the contents of the file", and
            // F_SEAL_SHRINK: "the file in question cannot be reduced in size".
            Ok(Sealed { start, length })
        }
    }
}

/// Where a mapping of this length can have huge pages: it is free, and begins at a multiple of their size. Null where no
/// huge page fits, or no such place is found.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(prefork_portable)))]
fn place_for_huge_pages(length: usize) -> *mut libc::c_void {
    let size = match huge_page_size() {
        Ok(size) if size <= length => size,
        Ok(_) | Err(_) => return ptr::null_mut(),
    };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // Addresses without memory, which are given back at once. Another thread that takes them first changes the place only.
    let length = length.saturating_add(size);
    let Ok(start) = map(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) else { return ptr::null_mut() };
    drop(Sealed { start, length });
    ptr::without_provenance_mut(start.addr().get().next_multiple_of(size))
}

#[cfg(any(not(any(target_os = "linux", target_os = "android")), prefork_portable))]
mod draft {
    use super::*;
    use crate::sys::mapping::READ_WRITE;

    /// Bytes that are being written. They are in memory twice while they become final.
    #[derive(Debug)]
    pub(crate) struct Draft {
        bytes: Vec<u8>,
    }

    impl Draft {
        pub(crate) fn new() -> io::Result<Draft> {
            Ok(Draft { bytes: Vec::new() })
        }

        pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes.try_reserve(bytes.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
            self.bytes.write(bytes)
        }

        /// Copies the bytes into memory that forked processes share, and makes it read-only: mmap(2), mprotect(2).
        pub(crate) fn seal(self) -> io::Result<Sealed> {
            let length = length_of_slice(self.bytes.len() as u64)?;
            if length == 0 {
                return Ok(Sealed::EMPTY);
            }
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            let start = map(ptr::null_mut(), length, READ_WRITE, flags, -1, 0)?;
            let sealed = Sealed { start, length };
            // SAFETY: `length` bytes were mapped for writing, which only this function knows of, so they do not overlap.
            unsafe { ptr::copy_nonoverlapping(self.bytes.as_ptr(), start.as_ptr(), length) };
            // SAFETY: mprotect(2) takes the right to write from this mapping, to which no reference has been made. From here on
            // nothing changes the bytes: only code that is unsafe itself could call mprotect(2) again, in this process or in one
            // that was forked from it.
            let result = unsafe { libc::mprotect(start.as_ptr().cast(), length, libc::PROT_READ) };
            crate::sys::outcome::checked(result)?;
            Ok(sealed)
        }
    }
}

#[cfg(test)]
mod tests;
