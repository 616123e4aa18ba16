//! Memory that this process and those forked from it later have in common; that of a file also with the program that
//! this process becomes.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::slice;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};

use super::of_call;

/// The kernel gives it memory page by page, as pages are used.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FLAGS: MapFlags = MapFlags::MAP_SHARED.union(MapFlags::MAP_NORESERVE);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FLAGS: MapFlags = MapFlags::MAP_SHARED;

const WORD: usize = size_of::<AtomicU64>();

/// Zeroes at first, if they are of no file, and never unmapped.
#[derive(Clone, Copy)]
pub(crate) struct SharedWords {
    words: &'static [AtomicU64],
}

impl SharedWords {
    /// mmap(2) of memory that no file has, so that nothing can be closed by accident, and no limit on the size of files
    /// (RLIMIT_FSIZE) stands in the way.
    pub(crate) fn map(words: usize) -> io::Result<SharedWords> {
        let length = bytes(words)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: mmap(2) without MAP_FIXED chooses a place where nothing is mapped.
        let start = unsafe { mmap_anonymous(None, length, access, FLAGS) }.map_err(of_call("mmap(2)"))?;
        // SAFETY: mmap(2) returned as many bytes as these words take, zeroed and aligned to a page; any bits are an
        // AtomicU64. They are never unmapped, nor made unreadable, and every process that has them uses them through
        // this type, whose words are atomic.
        let words = unsafe { slice::from_raw_parts(start.as_ptr().cast::<AtomicU64>(), words) };
        Ok(SharedWords { words })
    }

    /// mmap(2) of a part of a [`memory_file`](crate::sys::memory_file), whose size nobody can change. It begins with a
    /// page.
    pub(crate) fn map_file(file: BorrowedFd<'_>, start: usize, words: usize) -> io::Result<SharedWords> {
        let length = bytes(words)?;
        let offset = start.checked_mul(WORD).and_then(|offset| offset.try_into().ok());
        let offset = offset.ok_or(io::ErrorKind::InvalidInput)?;
        check_size(file, start, words)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: mmap(2) without MAP_FIXED chooses a place where nothing is mapped.
        let start = unsafe { mmap(None, length, access, FLAGS, file, offset) }.map_err(of_call("mmap(2)"))?;
        // SAFETY: mmap(2) returned as many bytes as these words take, aligned to a page; any bits are an AtomicU64. The
        // file has them, as `check_size` has found, and is sealed, so none of them can go. They are never unmapped, nor
        // made unreadable, and every process that has them uses them through this type, whose words are atomic.
        let words = unsafe { slice::from_raw_parts(start.as_ptr().cast::<AtomicU64>(), words) };
        Ok(SharedWords { words })
    }

    /// A store to a word that this process may only read ends it, with SIGSEGV.
    pub(crate) fn words(&self) -> &'static [AtomicU64] {
        self.words
    }

    /// In this process, and in those it forks from now on: mprotect(2).
    #[inline]
    pub(crate) fn make_read_only(&self) -> io::Result<()> {
        protect(self.words, ProtFlags::PROT_READ)
    }

    /// In this process, and in those it forks from now on: mprotect(2).
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where the range begins inside a page, which musl would make writable as a whole.
    pub(crate) fn make_writable(&self, range: Range<usize>) -> io::Result<()> {
        if range.start % words_per_page()? != 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        protect(&self.words[range], ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }
}

fn bytes(words: usize) -> io::Result<NonZeroUsize> {
    Ok(words.checked_mul(WORD).and_then(NonZeroUsize::new).ok_or(io::ErrorKind::InvalidInput)?)
}

/// Whether the file has these words and nobody can take them away.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn check_size(file: BorrowedFd<'_>, start: usize, words: usize) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};

    let seals = SealFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GET_SEALS).map_err(of_call("fcntl(2)"))?);
    let size = usize::try_from(nix::sys::stat::fstat(file).map_err(of_call("fstat(2)"))?.st_size).unwrap_or(0) / WORD;
    let has_them = start.checked_add(words).is_some_and(|end| end <= size);
    if has_them && seals.contains(SealFlag::F_SEAL_SHRINK) { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn check_size(_: BorrowedFd<'_>, _: usize, _: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[inline] // Each page of code that a new worker enters costs it a fault: so not nix's function either.
fn protect(words: &'static [AtomicU64], access: ProtFlags) -> io::Result<()> {
    // SAFETY: mprotect(2) changes the pages of these words, which begin with a page and which nothing but shared words
    // is in. Loads go on as before, as both kinds of access include reading. A store that is not allowed any more
    // changes nothing: the processor stops it, and the process ends.
    let result = unsafe { libc::mprotect(words.as_ptr().cast_mut().cast(), size_of_val(words), access.bits()) };
    Errno::result(result).map(drop).map_err(of_call("mprotect(2)"))
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
        let shared = SharedWords::map(1000).unwrap();
        assert_eq!(shared.words().len(), 1000);
        assert!(shared.words().iter().all(|word| word.load(Relaxed) == 0));
        shared.words()[999].store(7, Relaxed);
        assert_eq!(shared.words()[999].load(Relaxed), 7);
    }

    #[test]
    fn a_page_is_made_writable_alone() {
        let page = words_per_page().unwrap();
        let shared = SharedWords::map(3 * page).unwrap();
        shared.words()[0].store(1, Relaxed);
        shared.make_read_only().unwrap();
        assert_eq!(shared.words()[0].load(Relaxed), 1);
        shared.make_writable(page..2 * page).unwrap();
        shared.words()[page].store(2, Relaxed);
        shared.words()[2 * page - 1].store(3, Relaxed);
        assert!(shared.make_writable(page + 1..2 * page).is_err(), "half a page has no protection of its own");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_words_of_a_file_are_those_of_all_who_have_it() {
        use std::os::fd::AsFd;

        let page = words_per_page().unwrap();
        let file = crate::sys::memory_file("test", 2 * page * WORD).unwrap();
        let (one, other) =
            (SharedWords::map_file(file.as_fd(), 0, 2 * page), SharedWords::map_file(file.as_fd(), page, 7));
        let (one, other) = (one.unwrap(), other.unwrap());
        one.words()[page + 6].store(5, Relaxed);
        assert_eq!((other.words().len(), other.words()[6].load(Relaxed)), (7, 5));
        for (start, words) in [(0, 2 * page + 1), (page, page + 1), (1, 1), (0, 0), (usize::MAX, 1)] {
            assert!(SharedWords::map_file(file.as_fd(), start, words).is_err(), "{start} {words}");
        }
        let unsealed = crate::sys::scratch_file("test").unwrap();
        unsealed.set_len(1 << 20).unwrap();
        assert!(SharedWords::map_file(unsealed.as_fd(), 0, 1).is_err());
    }

    #[test]
    fn no_words_and_too_many_are_errors() {
        for words in [0, usize::MAX / 2, usize::MAX / 8] {
            assert!(SharedWords::map(words).is_err());
        }
    }
}
