//! The memory that the process that measures shares with a contender and its workers.

use std::mem::size_of;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use nix::time::{ClockId, clock_gettime};

pub const MOST_WORKERS: usize = 4096;

/// The timeout of the contender whose workers send heartbeats at intervals.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);

#[repr(C)]
pub struct Board {
    /// How many workers have reported, and which one of them wakes the process that measures.
    pub reports: AtomicU64,
    pub awaited: AtomicU64,
    pub slots: [Slot; MOST_WORKERS],
}

/// The latest worker of a task id.
#[repr(C)]
pub struct Slot {
    pub pid: AtomicI32,
    pub running_since: AtomicU64,
    pub picoseconds_a_heartbeat: AtomicU64,
}

const SIZE: NonZeroUsize = NonZeroUsize::new(size_of::<Board>()).expect("not empty");
const ACCESS: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

static BOARD: OnceLock<&'static Board> = OnceLock::new();

/// The board of this process.
pub fn board() -> &'static Board {
    BOARD.get().expect("opened at the start")
}

/// Takes this file as the board; a board of its own where the file is none, so that a contender can be run by hand.
pub fn open(file: impl AsFd) {
    let _ = BOARD.set(map(file).unwrap_or_else(|_| {
        // SAFETY: the kernel chooses a free address, and the mapping is never undone.
        let address = unsafe { mmap_anonymous(None, SIZE, ACCESS, MapFlags::MAP_SHARED) }.expect("mmap(2)");
        // SAFETY: as in `map`.
        unsafe { address.cast::<Board>().as_ref() }
    }));
}

/// The board in this file, which the process that measures has made as long as one.
pub fn map(file: impl AsFd) -> nix::Result<&'static Board> {
    // SAFETY: the kernel chooses a free address, and the mapping is never undone.
    let address = unsafe { mmap(None, SIZE, ACCESS, MapFlags::MAP_SHARED, file, 0) }?;
    // SAFETY: the mapping is page-aligned, as long as a Board, readable, writable and zeroed by the kernel; a Board
    // is made of atomics only, for which every byte pattern is valid and other processes' writes are no race.
    Ok(unsafe { address.cast::<Board>().as_ref() })
}

/// Nanoseconds of a clock that all processes share.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every system has this clock");
    Duration::from(time).as_nanos().try_into().expect("centuries")
}
