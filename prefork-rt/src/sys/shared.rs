//! Memory that this process shares with those that it forks later, and, where it is a file's, with the program that this
//! process becomes. The kernel enforces which process may write to which part. It must not know what the words mean.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use super::mapping::{READ_WRITE, map};
use super::of_call;
use super::outcome::checked;

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
    /// The writable mapping. With a second mapping, it is this process's alone: those forked from it do not have it. So no
    /// reference to it leaves this type.
    writable: &'static [AtomicU64],
    /// A second mapping of this memory, which nothing can make writable, where the system could give one.
    read_only: Option<SharedWords>,
    file: Option<File>,
    /// The number of words in a page.
    page: usize,
}

impl SharedMemory {
    /// mmap(2) of memory that no file has. No limit on the size of files (RLIMIT_FSIZE) stands in the way.
    pub(crate) fn anonymous(words: usize) -> io::Result<SharedMemory> {
        let start = map_words(words, READ_WRITE, FLAGS | libc::MAP_ANONYMOUS, -1, 0)?;
        // SAFETY: mmap(2) returned as many bytes as these words take.
        let writable = unsafe { words_at(start, words) };
        Ok(SharedMemory { writable, read_only: None, file: None, page: words_per_page()? })
    }

    /// mmap(2) of a [`memory_file`](crate::sys::memory_file), whose size no process can change: once for writing, and once
    /// through a second opening that allows only reading, where /proc gives one. A process forked from this one then has the
    /// second mapping only: it reads through [`readable`](SharedMemory::readable), and writes to nothing before
    /// [`narrow`](SharedMemory::narrow).
    pub(crate) fn of_file(file: File, words: usize) -> io::Result<SharedMemory> {
        check_size(file.as_fd(), words)?;
        let writable = map_file(&file, 0..words, READ_WRITE)?;
        let read_only = open_read_only(&file).and_then(|file| map_file(&file, 0..words, libc::PROT_READ));
        let read_only = read_only.and_then(|words| keep_from_children(writable).map(|()| SharedWords { words })).ok();
        Ok(SharedMemory { writable, read_only, file: Some(file), page: words_per_page()? })
    }

    /// The file, if the memory has one.
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Whether a process has ever written to one of these pages; `true` where that cannot be told. To read a page that has not
    /// been written to would give it memory. lseek(2) with SEEK_DATA.
    pub(crate) fn was_written(&self, pages: Range<usize>) -> bool {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(file) = &self.file {
            let Ok(first) = libc::off_t::try_from(pages.start * WORD) else { return true };
            // SAFETY: lseek(2) takes three numbers and touches no memory.
            return match checked(unsafe { libc::lseek(file.as_raw_fd(), first, libc::SEEK_DATA) }) {
                Ok(data) => usize::try_from(data).is_ok_and(|data| data < pages.end * WORD),
                // ENXIO: there is no data from here on.
                Err(error) => !super::outcome::is(&error, libc::ENXIO),
            };
        }
        let _ = pages;
        true
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
    /// from now on. Returns those words and the file, which can be mapped for writing as long as it is open.
    ///
    /// Call it in a process forked from the one that made the memory. With a second mapping for reading only, it does not have
    /// the writable one, and maps `own` anew: mmap(2). mprotect(2) does not make the second mapping writable, because its file
    /// was opened for reading: "EACCES: if you mmap(2) a file to which you have read-only access, then ask mprotect() to mark
    /// it PROT_WRITE". Without a second mapping, the rest is made read-only and sealed: mprotect(2), mseal(2).
    ///
    /// `own` is sealed in either case: mremap(2) could grow the mapping over the rest of its file, and remap_file_pages(2)
    /// could exchange its page for any other one. Where the kernel has no mseal(2) (before Linux 6.10), code that wants to can
    /// write to all words; and madvise(2) with MADV_REMOVE empties sealed pages on every kernel.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where the range begins or ends inside a page.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn narrow(self, own: Range<usize>) -> io::Result<(SharedWords, Option<File>)> {
        let SharedMemory { writable, read_only, file, page } = self;
        if own.start % page != 0 || own.end % page != 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let words = match (read_only, &file) {
            (Some(_), Some(file)) => map_file(file, own, READ_WRITE)?,
            _ => make_rest_read_only(writable, own)?,
        };
        seal(words);
        Ok((SharedWords { words }, file))
    }
}

/// Maps these words of a file, of which the first begins a page.
#[inline]
fn map_file(file: &File, words: Range<usize>, access: c_int) -> io::Result<&'static [AtomicU64]> {
    let length = words.len();
    let start = map_words(length, access, FLAGS, file.as_raw_fd(), (words.start * WORD) as libc::off_t)?;
    // SAFETY: mmap(2) returned as many bytes as these words take. `check_size` has found that the file is as long as all of
    // its words, and sealed, so it cannot shrink.
    Ok(unsafe { words_at(start, length) })
}

/// Processes forked from here on do not have these words: madvise(2) with MADV_DONTFORK.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn keep_from_children(words: &'static [AtomicU64]) -> io::Result<()> {
    // SAFETY: madvise(2) changes nothing in this process. In a process forked from it, code could reach these words only
    // through the `SharedMemory` that has them. Its `narrow`, which is what such a process calls, gives it other words and
    // touches none of these; a store before that would be to memory that is not mapped, and end the process.
    let result = unsafe { libc::madvise(words.as_ptr().cast_mut().cast(), size_of_val(words), libc::MADV_DONTFORK) };
    checked(result).map(drop).map_err(of_call("madvise(2)"))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn keep_from_children(_: &'static [AtomicU64]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// mmap(2).
#[inline]
fn map_words(
    words: usize,
    access: c_int,
    flags: c_int,
    file: RawFd,
    first_byte: libc::off_t,
) -> io::Result<NonNull<u8>> {
    let bytes = words.checked_mul(WORD).filter(|&bytes| bytes > 0).ok_or(io::ErrorKind::InvalidInput)?;
    map(ptr::null_mut(), bytes, access, flags, file, first_byte).map_err(of_call("mmap(2)"))
}

/// # Safety
///
/// At least `words` words are mapped at `start`, and nothing unmaps them in this process.
unsafe fn words_at(start: NonNull<u8>, words: usize) -> &'static [AtomicU64] {
    // SAFETY: the caller says that the words are mapped; mmap(2) aligns them to a page, and any bits are an AtomicU64. Every
    // process that has them uses them through the types here, whose words are atomic.
    unsafe { slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), words) }
}

/// Opens the file once more, for reading only: open(2) in /proc.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn open_read_only(file: &File) -> io::Result<File> {
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

/// Makes all words but `own` read-only, and returns those.
#[cold]
fn make_rest_read_only(words: &'static [AtomicU64], own: Range<usize>) -> io::Result<&'static [AtomicU64]> {
    let (before, rest) = words.split_at(own.start);
    let (own, after) = rest.split_at(own.len());
    for given_up in [before, after].into_iter().filter(|words| !words.is_empty()) {
        make_read_only(given_up)?;
    }
    Ok(own)
}

fn make_read_only(words: &'static [AtomicU64]) -> io::Result<()> {
    // SAFETY: mprotect(2) changes the pages of these words, which begin with a page and hold nothing but shared words. Loads
    // work as before. A store that is not allowed any more changes nothing: the processor stops it, and the process ends.
    let result = unsafe { libc::mprotect(words.as_ptr().cast_mut().cast(), size_of_val(words), libc::PROT_READ) };
    checked(result).map_err(of_call("mprotect(2)"))?;
    seal(words);
    Ok(())
}

/// Makes this mapping and its access final, where the kernel can: mseal(2), which has one number on all these architectures.
#[cfg(target_os = "linux")]
#[inline(always)] // Each page of code that a new worker enters costs it a fault.
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
    use super::descriptor;

    let seals = descriptor::seals(file).map_err(of_call("fcntl(2)"))?;
    let status = descriptor::status(file.as_raw_fd()).map_err(of_call("fstat(2)"))?;
    let size = usize::try_from(status.st_size).unwrap_or(0) / WORD;
    let has_them = words <= size && seals & libc::F_SEAL_SHRINK != 0;
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
