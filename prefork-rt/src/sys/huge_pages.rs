//! Huge pages: how large they are, which pages a mapping has, and moving memory into huge pages.
//!
//! It must not know which memory is worth it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::of_call;
use super::outcome::checked;

/// Of madvise(2). Not every C library has it, and Linux has one number on all architectures that Rust has.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MADV_COLLAPSE: libc::c_int = 25;

/// What this process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// The largest resident memory, in bytes. It may be that of a program that this process was before exec(2).
    pub(crate) peak_memory: u64,
    pub(crate) cpu_time: Duration,
}

/// What this process has used so far: getrusage(2).
pub(crate) fn usage() -> io::Result<Usage> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: getrusage(2) writes a struct rusage to where the pointer points, which has room for one.
    checked(unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) }).map_err(of_call("getrusage(2)"))?;
    // SAFETY: the call has succeeded, so it has written all of it.
    let usage = unsafe { usage.assume_init() };
    // Apple's systems count bytes, the others KiB.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    #[allow(clippy::useless_conversion, reason = "these types are of another size on some systems")]
    let time = |time: libc::timeval| {
        let seconds = u64::try_from(i64::from(time.tv_sec)).unwrap_or(0);
        Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(i64::from(time.tv_usec)).unwrap_or(0))
    };
    #[allow(clippy::useless_conversion, reason = "this type is of another size on some systems")]
    let peak = u64::try_from(i64::from(usage.ru_maxrss)).unwrap_or(0);
    Ok(Usage { peak_memory: peak.saturating_mul(unit), cpu_time: time(usage.ru_utime) + time(usage.ru_stime) })
}

/// The size of a huge page in bytes, on a kernel that can [`collapse`] memory into one.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] where the kernel has no huge pages or cannot collapse.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn huge_page_size() -> io::Result<usize> {
    let size = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")?;
    // SAFETY: with length 0 this touches no memory. madvise(2): "madvise(0, 0, advice) will return zero iff advice is
    // supported by the kernel and can be relied on to probe for support."
    let answer = unsafe { libc::madvise(std::ptr::null_mut(), 0, MADV_COLLAPSE) };
    checked(answer).map_err(|_| io::ErrorKind::Unsupported)?;
    let size = size.trim_ascii().parse().ok().filter(|size: &usize| size.is_power_of_two());
    size.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn huge_page_size() -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Moves what the range holds into huge pages: madvise(2) with `MADV_COLLAPSE`. A huge page of the range that fails may
/// leave others done.
///
/// # Errors
///
/// `EINVAL` where this memory may have no huge pages, or part of it is not mapped; `ENOMEM` and `EBUSY` where no huge page
/// can be had, in the system or in the control group; `EAGAIN` where something else uses the pages just now.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn collapse(range: &Range<usize>) -> io::Result<()> {
    let start = std::ptr::without_provenance_mut(range.start);
    // SAFETY: MADV_COLLAPSE changes which physical pages hold the memory of the range, and no byte of what they hold:
    // madvise(2), "being copied onto a freshly allocated hugepage". Of a range that is not mapped it fails.
    checked(unsafe { libc::madvise(start, range.len(), MADV_COLLAPSE) }).map(drop).map_err(of_call("madvise(2)"))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn collapse(_: &Range<usize>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The kernel's entries for the pages of this process: /proc/self/pagemap.
pub(crate) struct PageMap {
    file: File,
    page: usize,
}

impl PageMap {
    pub(crate) fn open() -> io::Result<PageMap> {
        let page = super::words_per_page()? * size_of::<u64>();
        Ok(PageMap { file: File::open("/proc/self/pagemap")?, page })
    }

    /// How many bytes a page has.
    pub(crate) fn page(&self) -> usize {
        self.page
    }

    /// Reads the entries of the pages from this address on, one for each word.
    pub(crate) fn read(&self, address: usize, entries: &mut [u64]) -> io::Result<()> {
        // SAFETY: the bytes are those of the words, which any bytes are good for, and nothing else uses them meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts_mut(entries.as_mut_ptr().cast(), size_of_val(entries)) };
        self.file.read_exact_at(bytes, (address / self.page * size_of::<u64>()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_more_than_nothing_and_grows() {
        let before = usage().unwrap();
        let data = std::hint::black_box(vec![1_u8; 100 << 20]);
        let after = usage().unwrap();
        assert!(before.peak_memory > 1 << 20 && after.peak_memory > 100 << 20, "{before:?} {after:?}");
        assert!(after.cpu_time >= before.cpu_time, "{before:?} {after:?}");
        drop(data);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn collapsed_memory_holds_what_it_held() {
        let Ok(size) = huge_page_size() else {
            println!("skipped: this kernel cannot collapse");
            return;
        };
        let data: Vec<usize> = (0..3 * size / size_of::<usize>()).collect();
        let start = (data.as_ptr() as usize).next_multiple_of(size);
        // Where no huge page can be had it fails, and changes as little.
        let outcome = collapse(&(start..start + size));
        assert!(data.iter().enumerate().all(|(at, value)| at == *value), "{outcome:?}");
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn memory_that_is_not_mapped_is_an_error() {
        let Ok(size) = huge_page_size() else { return };
        assert!(collapse(&(size..2 * size)).is_err());
    }
}
