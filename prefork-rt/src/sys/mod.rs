//! Thin safe wrappers, named after the calls they make. The only place with `unsafe`, each block with the fact that
//! makes it sound. It must not know the policy, and it logs nothing.
//!
//! What is POSIX is written once; what only Linux has stands in a `linux` module beside its nearest substitute, so a
//! port to another Unix is a matter of this folder.
#![allow(unsafe_code)]

mod call;
mod children;
mod clock;
mod connections;
mod cpus;
mod credentials;
mod directory;
mod exec;
mod holders;
mod inherited;
mod keyring;
mod listener_state;
mod lock;
mod mask;
mod proc;
mod process;
mod process_name;
mod reuse_port;
mod session;
mod shared;
mod signals;
mod stderr;
mod threads;
mod wake_pipe;

pub(crate) use call::{CallError, errno, of_call};
pub(crate) use children::{End, News, Rest, kill_rest, next_ended_in, next_news, reap, rest_of, take_stop};
pub(crate) use clock::{milliseconds, monotonic};
pub(crate) use connections::{Connection, Peer, SocketId, connection, connections, inherited_sockets};
pub(crate) use cpus::{affinity_cpus, host_cpus};
pub(crate) use credentials::{
    Gid, Uid, become_group, become_user, can_become_root, drop_capabilities, getegid, geteuid, getgrgid, getgrnam,
    getgrouplist, getgroups, getpwnam, getpwuid, gids, groups_are_fixed, has_acl, has_capabilities, has_gid, has_uid,
    missing_rights, setgroups, uids,
};
#[cfg(all(test, target_os = "linux"))]
pub(crate) use directory::attack;
pub(crate) use directory::{Directory, Entry, FileId, ForeignLink};
pub(crate) use exec::{
    Start, Variables, WIDEST_PIPE, change_directory, exec, exec_open, memory_file, open_for_its_place, own_binary,
    scratch_file, spawn, stay_open_on_exec, take_over, wide_pipe,
};
pub(crate) use holders::{Bound, Holder, SocketList, holders, socket_number, sockets_at, still_open};
pub(crate) use inherited::{FIRST_LISTEN_FD, is_listening, listen_fds};
pub(crate) use keyring::join_new_session_keyring;
pub(crate) use listener_state::{Admission, detach_filter, disconnect, has_filter, is_shut_down, queue_room};
pub(crate) use lock::FileLock;
pub(crate) use proc::{Hold, Member, hold, members, private_memory};
pub(crate) use process::{
    Fork, Pid, Rights, caller_can_write, die_with_parent, end_now, entropy, exists, fork, getpgrp, getpid, getppid,
    getsid, has_terminal, is_forked, is_privileged_start, kill, kill_group, lead_group, notice_forks, remove_variable,
    rights, set_no_new_privs, stdin_to_null,
};
pub(crate) use process_name::{ProcessName, process_name, set_process_name};
pub(crate) use reuse_port::{Choice, queues_migrate, share_address, steer};
pub(crate) use session::{ReadableTerminal, lead_session, readable_terminals};
pub(crate) use shared::{SharedMemory, SharedWords, words_per_page};
use signals::default_broken_pipes;
pub(crate) use signals::{
    Mask, Owned, Received, Sent, Signal, SignalLists, SignalQueue, add_handler, had_terminal, hold_stops, is_ignored,
    own, resend, signal_name, spawn_without_signals, suspend, unblock,
};
pub(crate) use stderr::wait_for_stderr;
use stderr::without_file_size_signal;
pub(crate) use stderr::{Severity, Stderr, recognize_journal};
pub(crate) use threads::{
    SingleThread, Threads, descriptors, event_loop, is_main_thread, lowest_free_descriptor, other_threads,
};

pub(crate) use wake_pipe::{WakePipe, wake, wake_pipe_shape};

/// Waits until standard output takes more: poll(2).
pub(crate) fn wait_for_stdout() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let stdout = std::io::stdout();
    let _ = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
}

/// Waits until the descriptor can be read, or the time is over: poll(2). Says which; may say no early.
pub(crate) fn wait_readable(descriptor: std::os::fd::BorrowedFd<'_>, timeout: Option<std::time::Duration>) -> bool {
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::time::Duration;
    const LOOK_AGAIN: Duration = Duration::from_millis(100);

    // Rounded up, so that the last millisecond is not spent asking; a wait that is too long for a call may end early.
    let milliseconds = |timeout: Duration| PollTimeout::try_from(timeout.as_nanos().div_ceil(1_000_000));
    let call_timeout = timeout.map_or(PollTimeout::NONE, |timeout| milliseconds(timeout).unwrap_or(PollTimeout::MAX));
    match poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], call_timeout) {
        Ok(ready) => ready == 1,
        Err(Errno::EINTR) => false,
        Err(_) => {
            // No memory, or RLIMIT_NOFILE is 0: the caller asks again, and not all the time.
            std::thread::sleep(timeout.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN));
            false
        }
    }
}

/// Writes what C code left in its buffers, so that a fork does not copy it. An error stays with the stream.
pub(crate) fn flush_c_stdio() {
    // SAFETY: fflush(3) with a null argument flushes every open output stream and takes no pointer of ours.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
