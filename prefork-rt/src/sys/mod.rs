//! Thin safe wrappers, named after the calls that they make. This is the only folder with `unsafe`: a file that needs it
//! allows it at its top, and each block says which fact makes it sound.
//!
//! It must not know the policy, and it logs nothing. Lists of signals, names and sizes come from the caller.
//!
//! What is POSIX is written once. What only Linux has is in a `linux` module beside its nearest substitute, so that a port to
//! another Unix changes this folder only.

mod call_error; // which call an error is of
mod children; // children that have ended or stopped, and their process groups
mod clock; // the clocks of heartbeats and of service managers
mod close; // closing several descriptors with few calls
mod connections; // which sockets this process has, and what they are connected to
mod cpus; // what limits the CPUs of this process
mod credentials; // users, groups and capabilities
mod descriptor; // what one descriptor is
mod directory; // a directory that is opened once, and what is done to the names in it
mod exec; // becoming another program, or starting one, and what it is given
mod holders; // which processes have a socket open
mod huge_pages; // huge pages, and how much this process has used
mod inherited; // descriptors to listen on that this process was started with
mod keyring; // the session keyring
#[cfg(feature = "hyper_1")]
mod limits; // how many descriptors this process may have
mod listener_state; // what one process can change of a listening socket for all
mod listing; // the names in a directory
mod lock; // a lock on a file
mod mapping; // mapping memory where nothing is mapped
mod memory_file; // files that are memory only
mod outcome; // what a call has returned
mod poll; // waiting until a descriptor is ready
mod proc; // what /proc tells of another process
mod process; // making and ending processes; group, session and rights
mod process_name; // what this process is called in ps
#[cfg(feature = "python")]
mod python; // CPython's protocol around a fork, and the names of its threads
#[cfg(not(feature = "python"))]
#[path = "python/absent.rs"]
mod python;
mod reuse_port; // sockets that share an address
mod sealed; // bytes that are written once and then only read
mod send_descriptor; // sending a copy of a descriptor
mod session; // leading a session, and terminals that can only be written to
mod shared; // memory that processes share
mod signals; // owning, blocking, queueing and sending signals
mod stderr; // writing to standard error without waiting
mod stdio; // the output streams of C code
mod threads; // what makes a fork unsafe: other threads, event loops
#[cfg(feature = "tokio")]
mod timer; // a timer that is a descriptor
mod uncopied; // memory that a fork does not copy
mod unfreed; // a value in memory that is not freed when the value is taken out
mod user_database; // the system's lists of users and groups
mod wake_pipe; // the pipe through which a worker wakes the supervisor

pub(crate) use call_error::{CallError, errno, of_call};
pub(crate) use children::{End, News, Rest, kill_rest, news_of, next_ended_in, next_news, reap, rest_of, take_stop};
pub(crate) use clock::{milliseconds, monotonic};
pub(crate) use close::close_all;
pub(crate) use connections::{Connection, Peer, SocketId, connection, connections, inherited_sockets};
pub(crate) use cpus::{affinity_cpus, host_cpus};
pub(crate) use credentials::{
    Gid, Uid, become_group, become_user, can_become_root, drop_capabilities, getegid, geteuid, getgroups, gids,
    groups_are_fixed, has_acl, has_capabilities, has_gid, has_uid, missing_rights, setgroups, uids,
};
#[cfg(all(test, target_os = "linux"))]
pub(crate) use directory::attack;
pub(crate) use directory::{Directory, Entry, FileId, ForeignLink};
pub(crate) use exec::{
    Start, Variables, WIDEST_PIPE, change_directory, exec, exec_open, open_for_its_place, own_binary, spawn,
    stay_open_on_exec, take_over, wide_pipe,
};
pub(crate) use holders::{Bound, Holder, SocketList, holders, socket_number, sockets_at, still_open};
pub(crate) use huge_pages::{PageMap, Usage, collapse, huge_page_size, usage};
pub(crate) use inherited::{FIRST_LISTEN_FD, is_listening, listen_fds};
pub(crate) use keyring::join_new_session_keyring;
#[cfg(feature = "hyper_1")]
pub(crate) use limits::free_descriptors;
#[cfg(feature = "tokio")]
pub(crate) use listener_state::queue_length;
pub(crate) use listener_state::{Admission, detach_filter, disconnect, has_filter, is_shut_down, queue_room};
pub(crate) use lock::FileLock;
pub(crate) use memory_file::{memory_file, scratch_file};
pub(crate) use poll::{wait_for_stdout, wait_readable};
pub(crate) use proc::{Hold, Member, hold, members, private_memory};
pub(crate) use process::*;
pub(crate) use process_name::{ProcessName, process_name, set_process_name};
pub(crate) use python::{InChild, Interpreter, find_python};
pub(crate) use reuse_port::{Choice, queues_migrate, share_address, steer};
pub(crate) use sealed::{Draft, NAME as SEALED_NAME, Sealed};
pub(crate) use send_descriptor::send_with_descriptor;
pub(crate) use session::{ReadableTerminal, lead_session, readable_terminals};
#[cfg(all(any(target_os = "linux", target_os = "android"), not(prefork_portable)))]
use shared::open_read_only;
pub(crate) use shared::{SharedMemory, SharedWords, words_per_page};
use signals::default_broken_pipes;
pub(crate) use signals::{
    EarlyHandlers, Mask, Ready, Received, Sent, Signal, SignalLists, SignalQueue, add_handler, catch_early,
    had_terminal, hold_stops, is_ignored, resend, signal_name, spawn_without_signals, suspend, unblock,
};
pub(crate) use stderr::wait_for_stderr;
pub(crate) use stderr::{Severity, Stderr, recognize_journal};
pub(crate) use stdio::flush_c_stdio;
pub(crate) use threads::{
    SingleThread, Thread, Threads, descriptors, event_loop, is_main_thread, lowest_free_descriptor, other_threads,
};

#[cfg(feature = "tokio")]
pub(crate) use timer::Timer;
pub(crate) use uncopied::{Uncopied, UncopiedBox, UncopiedVec};
pub(crate) use unfreed::Unfreed;
pub(crate) use user_database::{getgrgid, getgrnam, getgrouplist, getpwnam, getpwuid};
pub(crate) use wake_pipe::{WakePipe, wake, wake_pipe_shape};
