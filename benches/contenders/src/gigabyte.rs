//! A gigabyte of memory that a contender has before it forks.

use std::num::NonZeroUsize;
use std::sync::OnceLock;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

pub const SIZE: usize = 1 << 30;

const PAGE: usize = 4096;

/// The limit's, in pages of 4 KiB.
static SMALL_PAGES: OnceLock<&'static [u8]> = OnceLock::new();

/// Has it in pages of 4 KiB, also where the system would take huge ones.
pub fn in_small_pages() -> &'static [u8] {
    SMALL_PAGES.get_or_init(|| {
        let size = NonZeroUsize::new(SIZE).expect("not 0");
        // SAFETY: the kernel chooses a free address, and the mapping is never undone.
        let address =
            unsafe { mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE) };
        let address = address.expect("mmap(2)");
        // SAFETY: the advice concerns this mapping alone, and changes no contents.
        unsafe { madvise(address, SIZE, MmapAdvise::MADV_NOHUGEPAGE) }.expect("madvise(2)");
        // SAFETY: the mapping is SIZE bytes, readable, writable and zeroed by the kernel, and nothing else knows of it.
        let data = unsafe { std::slice::from_raw_parts_mut(address.cast::<u8>().as_ptr(), SIZE) };
        data.fill(1);
        data
    })
}

/// As a program has it that allocates: in pages of the size that the system chooses.
pub fn allocate() -> Vec<u8> {
    vec![1; SIZE]
}

/// Of a byte of each page.
pub fn sum(data: &[u8]) -> u64 {
    data.iter().step_by(PAGE).map(|&byte| u64::from(byte)).sum()
}
