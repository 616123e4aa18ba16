//! What the workers of every contender run. The first statement of each body reads the clock, but for `read`.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::SeqCst;

use nix::unistd::{getpid, pause, write};

use crate::board::{board, now};
use crate::gigabyte;

/// Reports, and stays until a signal ends it.
pub fn wait(task_id: usize) -> ! {
    report(task_id);
    loop {
        pause();
    }
}

/// Reports, and has done its work.
pub fn end(task_id: usize) {
    report(task_id);
}

/// Reports, and fails: the value is the exit status.
pub fn crash(task_id: usize) -> u8 {
    report(task_id);
    1
}

/// Reads a byte of each page of this data, reports, and stays.
pub fn read(task_id: usize, data: &[u8]) -> ! {
    std::hint::black_box(gigabyte::sum(data));
    wait(task_id)
}

/// Notes that the worker of this task id runs. The last one awaited wakes the process that measures.
pub fn report(task_id: usize) {
    let running_since = now();
    let board = board();
    let slot = &board.slots[task_id];
    slot.running_since.store(running_since, SeqCst);
    slot.pid.store(getpid().as_raw(), SeqCst);
    if board.reports.fetch_add(1, SeqCst) + 1 == board.awaited.load(SeqCst) {
        // SAFETY: nothing closes descriptor 1; were it closed, the write would fail.
        let stdout = unsafe { BorrowedFd::borrow_raw(1) };
        write(stdout, b".").expect("the process that measures reads it");
    }
}
