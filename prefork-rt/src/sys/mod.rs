//! Thin safe wrappers, named after the calls they make. The only place with `unsafe`, each block with the fact that
//! makes it sound. It must not know the policy, and it logs nothing.
//!
//! What is POSIX is written once; what only Linux has stands in a `linux` module beside its nearest substitute, so a
//! port to another Unix is a matter of this folder.
#![allow(unsafe_code)]

mod bell;
mod clock;
mod cpus;
mod proc;
mod process;
mod process_name;
mod shared;
mod signals;
mod stderr;
mod threads;

pub(crate) use bell::{Bell, Heard, ring};
pub(crate) use clock::milliseconds;
pub(crate) use cpus::{affinity_cpus, host_cpus};
pub(crate) use proc::{catches, private_memory};
pub(crate) use process::{
    Change, Fork, Pid, die_with, end_now, entropy, fork, getpgrp, getpid, getsid, has_terminal, is_privileged_start,
    kill, kill_group, lead_group, reap, remove_variable, stdin_to_null,
};
pub(crate) use process_name::{ProcessName, process_name, set_process_name, supervisor_name, worker_name};
pub(crate) use signals::{Mask, Ready, Received, Sent, Signal, SignalQueue, is_ignored, signal_name, suspend};
pub(crate) use shared::{SharedWords, words_per_page};
pub(crate) use stderr::Stderr;
pub(crate) use threads::{Alone, Threads, event_loop, is_main_thread, lowest_free_descriptor, other_threads};

/// Waits until standard output takes more: poll(2).
pub(crate) fn wait_for_stdout() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let stdout = std::io::stdout();
    let _ = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
}

/// Writes what C code left in its buffers, so that a fork does not copy it. An error stays with the stream.
pub(crate) fn flush_c_stdio() {
    // SAFETY: fflush(3) with a null argument flushes every open output stream and takes no pointer of ours.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
