//! Memory that this process shares with those that it forks later, and, where it is a file's, with the program that this
//! process becomes. The kernel enforces which process may write to which part. It must not know what the words mean.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use super::of_call;

/// The kernel provides memory page by page, as pages are used.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FLAGS: c_int = libc::MAP_SHARED | libc::MAP_NORESERVE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FLAGS: c_int = libc::MAP_SHARED;

const WORD: usize = size_of::<AtomicU64>();

/// Words that this process may read. They are never unmapped.
#[derive(Clone, Copy)]
pub(crate) struct SharedWords {
    words: &'static [AtomicU64],
}

impl SharedWords {
    pub(crate) fn words(&self) -> &'static [AtomicU64] {
        self.words
    }
}

/// Memory that a process writes to and the processes forked from it read, until each of these [narrows](SharedMemory::narrow)
/// it to a part of its own. It is all zeros at first, unless it is of a file that was written to before.
pub(crate) struct SharedMemory {
    /// The writable mapping. [`narrow`](SharedMemory::narrow) may unmap it, so no reference to it leaves this type.
    writable: &'static [AtomicU64],
    /// A second mapping of this memory, which nothing can make writable, where the system could give one.
    read_only: Option<SharedWords>,
    /// The number of words in a page.
    page: usize,
}

impl SharedMemory {
    /// mmap(2) of memory that no file has. No limit on the size of files (RLIMIT_FSIZE) stands in the way.
    pub(crate) fn anonymous(words: usize) -> io::Result<SharedMemory> {
        let start = map(words, READ_WRITE, FLAGS | libc::MAP_ANONYMOUS, -1)?;
        // SAFETY: mmap(2) returned as many bytes as these words take.
        Ok(SharedMemory { writable: unsafe { words_at(start, words) }, read_only: None, page: words_per_page()? })
    }

    /// mmap(2) of a [`memory_file`](crate::sys::memory_file), whose size no process can change: once for writing, and once
    /// through a second opening that allows only reading, where /proc gives one.
    pub(crate) fn of_file(file: &File, words: usize) -> io::Result<SharedMemory> {
        check_size(file.as_fd(), words)?;
        let writable = map_file(file, words, READ_WRITE)?;
        let read_only = open_read_only(file).and_then(|file| map_file(&file, words, libc::PROT_READ)).ok();
        let read_only = read_only.map(|words| SharedWords { words });
        Ok(SharedMemory { writable, read_only, page: words_per_page()? })
    }

    /// All of it, for reading, in this process and in those forked from it.
    pub(crate) fn readable(&self) -> SharedWords {
        self.read_only.unwrap_or(SharedWords { words: self.writable })
    }

    pub(crate) fn load(&self, word: usize) -> u64 {
        self.writable[word].load(Ordering::Relaxed)
    }

    pub(crate) fn store(&self, word: usize, value: u64, ordering: Ordering) {
        self.writable[word].store(value, ordering);
    }

    /// All of it, for tests that never narrow it.
    #[cfg(test)]
    pub(crate) fn writable(&self) -> &'static [AtomicU64] {
        self.writable
    }

    /// Gives up the right to write to all words but `own`, which must be whole pages, in this process and those that it forks
    /// from now on.
    ///
    /// With a second mapping for reading only, the rest of the writable mapping is unmapped: munmap(2), twice. mprotect(2) does
    /// not make the second mapping writable, because its file was opened for reading: "EACCES: if you mmap(2) a file to which
    /// you have read-only access, then ask mprotect() to mark it PROT_WRITE". Without a second mapping, the rest is made
    /// read-only and sealed: mprotect(2), mseal(2).
    ///
    /// `own` is sealed in either case: mremap(2) could grow the mapping over the rest of its file, and remap_file_pages(2)
    /// could exchange its page for any other one. Where the kernel has no mseal(2) (before Linux 6.10), code that wants to can
    /// write to all words; and madvise(2) with MADV_REMOVE empties sealed pages on every kernel.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where the range begins or ends inside a page.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn narrow(self, own: Range<usize>) -> io::Result<SharedWords> {
        let SharedMemory { writable, read_only, page } = self;
        if own.start % page != 0 || own.end % page != 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (before, rest) = writable.split_at(own.start);
        let (kept, after) = rest.split_at(own.len());
        for given_up in [before, after] {
            match read_only {
                _ if given_up.is_empty() => {}
                // SAFETY: `self` was the only way to these words in this process, and it is gone: readers have the other
                // mapping.
                Some(_) => unsafe { unmap(given_up) }?,
                None => make_read_only(given_up)?,
            }
        }
        seal(kept);
        Ok(SharedWords { words: kept })
    }
}

const READ_WRITE: c_int = libc::PROT_READ | libc::PROT_WRITE;

fn map_file(file: &File, words: usize, access: c_int) -> io::Result<&'static [AtomicU64]> {
    let start = map(words, access, FLAGS, file.as_raw_fd())?;
    // SAFETY: mmap(2) returned as many bytes as these words take. `check_size` has found that the file is as long, and
    // sealed, so it cannot shrink.
    Ok(unsafe { words_at(start, words) })
}

/// mmap(2), of a file from its beginning.
fn map(words: usize, access: c_int, flags: c_int, file: RawFd) -> io::Result<*mut c_void> {
    let bytes = words.checked_mul(WORD).filter(|&bytes| bytes > 0).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: mmap(2) without MAP_FIXED chooses a place where nothing is mapped, so no memory in use changes.
    match unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, file, 0) } {
        libc::MAP_FAILED => Err(of_call("mmap(2)")(io::Error::last_os_error())),
        start => Ok(start),
    }
}

/// # Safety
///
/// At least `words` words are mapped at `start`, and only [`SharedMemory::narrow`] unmaps them.
unsafe fn words_at(start: *mut c_void, words: usize) -> &'static [AtomicU64] {
    // SAFETY: the caller says that the words are mapped; mmap(2) aligns them to a page, and any bits are an AtomicU64. Every
    // process that has them uses them through the types here, whose words are atomic.
    unsafe { slice::from_raw_parts(start.cast::<AtomicU64>(), words) }
}

/// Opens the file once more, for reading only: open(2) in /proc.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_read_only(file: &File) -> io::Result<File> {
    use std::os::unix::fs::MetadataExt;

    let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let (one, other) = (file.metadata()?, again.metadata()?);
    // Something else may be called /proc.
    if (one.dev(), one.ino()) != (other.dev(), other.ino()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(again)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open_read_only(_: &File) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// # Safety
///
/// Nothing in this process uses these words afterwards.
#[inline]
unsafe fn unmap(words: &'static [AtomicU64]) -> io::Result<()> {
    // SAFETY: munmap(2) removes the pages of these words. The words begin with a page, their pages hold nothing but shared
    // words, and the caller says that nothing uses them.
    let result = unsafe { libc::munmap(words.as_ptr().cast_mut().cast(), size_of_val(words)) };
    Errno::result(result).map(drop).map_err(of_call("munmap(2)"))
}

#[cold]
fn make_read_only(words: &'static [AtomicU64]) -> io::Result<()> {
    // SAFETY: mprotect(2) changes the pages of these words, which begin with a page and hold nothing but shared words. Loads
    // work as before. A store that is not allowed any more changes nothing: the processor stops it, and the process ends.
    let result = unsafe { libc::mprotect(words.as_ptr().cast_mut().cast(), size_of_val(words), libc::PROT_READ) };
    Errno::result(result).map_err(of_call("mprotect(2)"))?;
    seal(words);
    Ok(())
}

/// Makes this mapping and its access final, where the kernel can: mseal(2), which has one number on all these architectures.
#[cfg(target_os = "linux")]
fn seal(words: &'static [AtomicU64]) {
    const SYS_MSEAL: libc::c_long = 462;
    const HAS_THIS_NUMBER: bool = cfg!(all(
        target_pointer_width = "64",
        any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "powerpc64",
            target_arch = "s390x",
            target_arch = "loongarch64"
        )
    ));
    if HAS_THIS_NUMBER {
        // SAFETY: mseal(2) keeps the mapping of these pages as it is for good, and no code here changes it afterwards. An older
        // kernel returns ENOSYS.
        unsafe { libc::syscall(SYS_MSEAL, words.as_ptr(), size_of_val(words), 0_usize) };
    }
}

#[cfg(not(target_os = "linux"))]
fn seal(_: &'static [AtomicU64]) {}

/// Checks that the file has this many words, and that no process can shrink it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn check_size(file: BorrowedFd<'_>, words: usize) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};

    let seals = SealFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GET_SEALS).map_err(of_call("fcntl(2)"))?);
    let size = usize::try_from(nix::sys::stat::fstat(file).map_err(of_call("fstat(2)"))?.st_size).unwrap_or(0) / WORD;
    let has_them = words <= size && seals.contains(SealFlag::F_SEAL_SHRINK);
    if has_them { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn check_size(_: BorrowedFd<'_>, _: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The number of words in a page: sysconf(3).
pub(crate) fn words_per_page() -> io::Result<usize> {
    // SAFETY: sysconf(3) takes any number and touches no memory of ours.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).map(|bytes| bytes / WORD).map_err(|_| of_call("sysconf(3)")(io::Error::last_os_error()))
}

#[cfg(test)]
mod tests;
