//! The memory that the process that measures shares with a contender and its workers.

use std::mem::size_of;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::time::{ClockId, clock_gettime};

pub const MOST_WORKERS: usize = 1024;

/// Memory shared by the process that measures, a contender and its workers.
#[repr(C)]
pub struct Board {
    /// When supervision was asked for.
    pub called: AtomicU64,
    pub first_fork: AtomicU64,
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

pub static BOARD: OnceLock<&'static Board> = OnceLock::new();

pub fn board() -> &'static Board {
    BOARD.get().expect("mapped at the start")
}

pub fn map(file: impl AsFd) -> &'static Board {
    let size = NonZeroUsize::new(size_of::<Board>()).expect("not empty");
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses a free address, and the mapping is never undone.
    let address = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, file, 0) }.expect("mmap(2)");
    // SAFETY: the mapping is page-aligned, as long as a Board, readable, writable and zeroed by the kernel; a Board
    // is made of atomics only, for which every byte pattern is valid and other processes' writes are no race.
    unsafe { address.cast::<Board>().as_ref() }
}

/// Nanoseconds of a clock that all processes share.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every system has this clock");
    Duration::from(time).as_nanos().try_into().expect("centuries")
}
