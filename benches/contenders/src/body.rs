//! What the workers of every contender run.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::SeqCst;

use nix::unistd::{getpid, pause, write};

use crate::board::{board, now};

/// The body of most workers: its first statement reads the clock.
pub fn work(task_id: usize) -> ! {
    report(task_id);
    loop {
        pause();
    }
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
