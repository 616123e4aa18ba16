//! Memory that this process and those forked from it later have in common; that of a file also with the program that
//! this process becomes. Who may write to which part is the kernel's affair, not a matter of trust.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};

use super::of_call;

/// The kernel gives it memory page by page, as pages are used.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FLAGS: MapFlags = MapFlags::MAP_SHARED.union(MapFlags::MAP_NORESERVE);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FLAGS: MapFlags = MapFlags::MAP_SHARED;

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

/// Memory that a process writes to and those forked from it read, until each of them [keeps](SharedMemory::keep) a part
/// for itself. Zeroes at first, if it is of no file that was used before.
pub(crate) struct SharedMemory {
    /// May be written to. [`keep`](SharedMemory::keep) unmaps it, so no reference to it leaves this type.
    writable: &'static [AtomicU64],
    /// The same memory, where there could be one, by a mapping that nothing makes writable.
    read_only: Option<SharedWords>,
    /// How many words a page has.
    page: usize,
}

impl SharedMemory {
    /// mmap(2) of memory that no file has: no limit on the size of files (RLIMIT_FSIZE) stands in the way.
    pub(crate) fn anonymous(words: usize) -> io::Result<SharedMemory> {
        // SAFETY: mmap(2) without MAP_FIXED chooses a place where nothing is mapped.
        let start = unsafe { mmap_anonymous(None, bytes(words)?, READ_WRITE, FLAGS) }.map_err(of_call("mmap(2)"))?;
        // SAFETY: mmap(2) returned as many bytes as these words take.
        Ok(SharedMemory { writable: unsafe { words_at(start, words) }, read_only: None, page: words_per_page()? })
    }

    /// mmap(2) of a [`memory_file`](crate::sys::memory_file), whose size no process can change: once to write, and once
    /// through an opening that allows reading alone, where /proc gives one.
    pub(crate) fn of_file(file: &File, words: usize) -> io::Result<SharedMemory> {
        check_size(file.as_fd(), words)?;
        let writable = map(file, words, READ_WRITE)?;
        let read_only = open_read_only(file).and_then(|file| map(&file, words, ProtFlags::PROT_READ)).ok();
        let read_only = read_only.map(|words| SharedWords { words });
        Ok(SharedMemory { writable, read_only, page: words_per_page()? })
    }

    /// All of it, to be read: in this process, and in those forked from it.
    pub(crate) fn readable(&self) -> SharedWords {
        self.read_only.unwrap_or(SharedWords { words: self.writable })
    }

    pub(crate) fn load(&self, word: usize) -> u64 {
        self.writable[word].load(Ordering::Relaxed)
    }

    pub(crate) fn store(&self, word: usize, value: u64, ordering: Ordering) {
        self.writable[word].store(value, ordering);
    }

    /// All of it, for tests that keep nothing.
    #[cfg(test)]
    pub(crate) fn writable(&self) -> &'static [AtomicU64] {
        self.writable
    }

    /// Gives up the right to write to all but these words, in this process and those it forks from now on. What it keeps
    /// begins and ends with a page.
    ///
    /// With a mapping for reading alone the rest is unmapped: munmap(2), twice. mprotect(2) does not make the other
    /// mapping writable, because its file was opened to be read: "EACCES: if you mmap(2) a file to which you have
    /// read-only access, then ask mprotect() to mark it PROT_WRITE". Else the rest is made read-only and sealed: mprotect(2), mseal(2).
    ///
    /// What it keeps is sealed in either case: mremap(2) grows a mapping over the rest of its file, and remap_file_pages(2)
    /// exchanges its page for any other one. Where the kernel has no mseal(2) (before Linux 6.10), code that wants to can
    /// write to all of it; and madvise(2) with MADV_REMOVE empties what is sealed.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where the range begins or ends inside a page.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn keep(self, own: Range<usize>) -> io::Result<SharedWords> {
        let SharedMemory { writable, read_only, page } = self;
        if own.start % page != 0 || own.end % page != 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (before, rest) = writable.split_at(own.start);
        let (kept, after) = rest.split_at(own.len());
        for given_up in [before, after] {
            match read_only {
                _ if given_up.is_empty() => {}
                // SAFETY: `self` is gone, and was the only way to these words in this process: what others read is the
                // other mapping.
                Some(_) => unsafe { unmap(given_up) }?,
                None => make_read_only(given_up)?,
            }
        }
        seal(kept);
        Ok(SharedWords { words: kept })
    }
}

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

fn map(file: &File, words: usize, access: ProtFlags) -> io::Result<&'static [AtomicU64]> {
    // SAFETY: mmap(2) without MAP_FIXED chooses a place where nothing is mapped.
    let start = unsafe { mmap(None, bytes(words)?, access, FLAGS, file, 0) }.map_err(of_call("mmap(2)"))?;
    // SAFETY: mmap(2) returned as many bytes as these words take. The file has them, as `check_size` has found, and is
    // sealed, so none of them can go.
    Ok(unsafe { words_at(start, words) })
}

/// # Safety
///
/// How many words are mapped there; they are unmapped by [`SharedMemory::keep`] alone.
unsafe fn words_at(start: NonNull<c_void>, words: usize) -> &'static [AtomicU64] {
    // SAFETY: the caller says that they are mapped; mmap(2) aligns them to a page, and any bits are an AtomicU64. Every
    // process that has them uses them through the types here, whose words are atomic.
    unsafe { slice::from_raw_parts(start.as_ptr().cast::<AtomicU64>(), words) }
}

/// The same file, opened to be read: open(2) in /proc.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_read_only(file: &File) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let (one, other) = (file.metadata()?, again.metadata()?);
    // Where something else is called /proc.
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
/// Nothing in this process uses these words any more.
#[inline]
unsafe fn unmap(words: &'static [AtomicU64]) -> io::Result<()> {
    // SAFETY: munmap(2) removes the pages of these words, which begin with a page and which nothing but shared words is
    // in; the caller says that nothing uses them.
    let result = unsafe { libc::munmap(words.as_ptr().cast_mut().cast(), size_of_val(words)) };
    Errno::result(result).map(drop).map_err(of_call("munmap(2)"))
}

#[cold]
fn make_read_only(words: &'static [AtomicU64]) -> io::Result<()> {
    // SAFETY: mprotect(2) changes the pages of these words, which begin with a page and which nothing but shared words
    // is in. Loads go on as before. A store that is not allowed any more changes nothing: the processor stops it, and
    // the process ends.
    let result =
        unsafe { libc::mprotect(words.as_ptr().cast_mut().cast(), size_of_val(words), ProtFlags::PROT_READ.bits()) };
    Errno::result(result).map_err(of_call("mprotect(2)"))?;
    seal(words);
    Ok(())
}

/// Makes final what is mapped there and how, where the kernel can: mseal(2), which has this number on each architecture here.
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
        // SAFETY: mseal(2) keeps these pages as they are for ever, which they are meant to be; an older kernel says ENOSYS.
        unsafe { libc::syscall(SYS_MSEAL, words.as_ptr(), size_of_val(words), 0_usize) };
    }
}

#[cfg(not(target_os = "linux"))]
fn seal(_: &'static [AtomicU64]) {}

fn bytes(words: usize) -> io::Result<NonZeroUsize> {
    Ok(words.checked_mul(WORD).and_then(NonZeroUsize::new).ok_or(io::ErrorKind::InvalidInput)?)
}

/// Whether the file has these words and no process can take them away.
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

/// How many words a page has: sysconf(3).
pub(crate) fn words_per_page() -> io::Result<usize> {
    // SAFETY: sysconf(3) takes any number and touches no memory of ours.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).map(|bytes| bytes / WORD).map_err(|_| of_call("sysconf(3)")(io::Error::last_os_error()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn words_are_zero_and_keep_what_is_stored() {
        let memory = SharedMemory::anonymous(1000).unwrap();
        let words = memory.readable().words();
        assert_eq!(words.len(), 1000);
        assert!(words.iter().all(|word| word.load(Relaxed) == 0));
        memory.store(999, 7, Relaxed);
        assert_eq!((words[999].load(Relaxed), memory.load(999)), (7, 7));
    }

    #[test]
    fn a_page_is_kept_alone() {
        let page = words_per_page().unwrap();
        for own in [0..page, page..2 * page, 2 * page..3 * page] {
            let memory = SharedMemory::anonymous(3 * page).unwrap();
            let words = memory.readable().words();
            memory.store(0, 1, Relaxed);
            let kept = memory.keep(own).unwrap().words();
            assert_eq!((kept.len(), words[0].load(Relaxed)), (page, 1), "the rest can be read");
            kept[0].store(2, Relaxed);
            kept[page - 1].store(3, Relaxed);
        }
        for own in [1..page, page..page + 1] {
            assert!(
                SharedMemory::anonymous(3 * page).unwrap().keep(own).is_err(),
                "half a page has no access of its own"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_not_kept_of_a_file_cannot_be_made_writable() {
        let page = words_per_page().unwrap();
        let file = crate::sys::memory_file("test", 3 * page * WORD).unwrap();
        let memory = SharedMemory::of_file(&file, 3 * page).unwrap();
        memory.store(0, 5, Relaxed);
        let words = memory.readable().words();
        let kept = memory.keep(page..2 * page).unwrap().words();
        kept[7].store(6, Relaxed);
        assert_eq!((words[0].load(Relaxed), words[page + 7].load(Relaxed)), (5, 6));
        let start = words.as_ptr().cast_mut().cast();
        // SAFETY: more access than before harms nothing, and it is refused.
        let refused = unsafe { libc::mprotect(start, page * WORD, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!((refused, Errno::last()), (-1, Errno::EACCES));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_kept_becomes_no_way_to_the_rest() {
        // SAFETY: sealing nothing changes nothing.
        if unsafe { libc::syscall(libc::SYS_mseal, 0, 0, 0) } != 0 {
            return eprintln!("skipped: this kernel has no mseal(2)");
        }
        let page = words_per_page().unwrap();
        let file = crate::sys::memory_file("test", 3 * page * WORD).unwrap();
        for memory in [SharedMemory::of_file(&file, 3 * page), SharedMemory::anonymous(3 * page)] {
            let kept = memory.unwrap().keep(page..2 * page).unwrap().words();
            let (start, bytes) = (kept.as_ptr().cast_mut().cast::<c_void>(), page * WORD);
            // An old length of 0 asks for a second mapping.
            for old in [bytes, 0] {
                // SAFETY: a mapping that moves would leave `kept` behind; it is not used any more.
                let grown = unsafe { libc::mremap(start, old, 2 * bytes, libc::MREMAP_MAYMOVE) };
                assert_eq!((grown, Errno::last()), (libc::MAP_FAILED, Errno::EPERM), "from {old}");
            }
            // SAFETY: other words would be there, any of which are as good.
            let exchanged = unsafe { libc::syscall(libc::SYS_remap_file_pages, start, bytes, 0, 0_usize, 0) };
            assert_eq!((exchanged, Errno::last()), (-1, Errno::EPERM));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_words_of_a_file_are_those_of_all_who_have_it() {
        let page = words_per_page().unwrap();
        let file = crate::sys::memory_file("test", 2 * page * WORD).unwrap();
        let (one, other) =
            (SharedMemory::of_file(&file, 2 * page).unwrap(), SharedMemory::of_file(&file, page).unwrap());
        one.store(6, 5, Relaxed);
        let words = other.readable().words();
        assert_eq!((words.len(), words[6].load(Relaxed)), (page, 5));
        for words in [2 * page + 1, 0, usize::MAX] {
            assert!(SharedMemory::of_file(&file, words).is_err(), "{words}");
        }
        let unsealed = crate::sys::scratch_file("test").unwrap();
        unsealed.set_len(1 << 20).unwrap();
        assert!(SharedMemory::of_file(&unsealed, 1).is_err());
    }

    #[test]
    fn no_words_and_too_many_are_errors() {
        for words in [0, usize::MAX / 2, usize::MAX / 8] {
            assert!(SharedMemory::anonymous(words).is_err());
        }
    }
}
