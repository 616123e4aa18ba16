//! What makes a fork unsafe: other threads, and event loops that would be shared.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// That this process had one thread a moment ago, which is the one that holds this.
pub(crate) struct Alone {
    /// It stays with the thread it was made on.
    _thread: PhantomData<*const ()>,
}

/// Whether this process has other threads.
pub(crate) enum Threads {
    None(Alone),
    /// Their names, as far as they can be read.
    Others(Vec<String>),
    /// The system does not say; there may be some.
    Unknown(Alone),
}

/// Looks for other threads, cheaply where there are none.
pub(crate) fn other_threads() -> Threads {
    let alone = Alone { _thread: PhantomData };
    match has_one_thread() {
        Some(true) => Threads::None(alone),
        Some(false) => Threads::Others(names_of_others()),
        None => Threads::Unknown(alone),
    }
}

/// Whether this is the thread that the program began with.
pub(crate) fn is_main_thread() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        nix::unistd::gettid() == nix::unistd::getpid()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        std::thread::current().name() == Some("main")
    }
}

#[cfg(target_os = "linux")]
fn has_one_thread() -> Option<bool> {
    use nix::errno::Errno;
    use nix::sched::{CloneFlags, unshare};

    // unshare(2) with CLONE_THREAD alone does nothing in a process of one thread and is EINVAL in any other; seccomp
    // filters of containers may refuse the call.
    match unshare(CloneFlags::CLONE_THREAD) {
        Ok(()) => Some(true),
        Err(Errno::EINVAL) => Some(false),
        Err(_) => fs::read_dir("/proc/self/task").ok().map(|tasks| tasks.take(2).count() == 1),
    }
}

#[cfg(not(target_os = "linux"))]
fn has_one_thread() -> Option<bool> {
    None
}

fn names_of_others() -> Vec<String> {
    // As /proc numbers it, which may be that of another PID namespace.
    let own = fs::read_link("/proc/thread-self").ok();
    let own = own.as_deref().and_then(std::path::Path::file_name);
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    tasks
        .filter_map(Result::ok)
        .filter(|task| Some(task.file_name().as_os_str()) != own)
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect()
}

/// The kind of event loop that this process has made and not closed, if any: epoll or io_uring.
///
/// Libraries make theirs close-on-exec; one without that flag was inherited through exec and belongs to somebody else.
pub(crate) fn event_loop() -> Option<&'static str> {
    for descriptor in fs::read_dir("/proc/self/fd").ok()?.filter_map(Result::ok) {
        let Ok(target) = fs::read_link(descriptor.path()) else { continue };
        let kind = match target.to_str() {
            Some("anon_inode:[eventpoll]") => "epoll",
            Some("anon_inode:[io_uring]") => "io_uring",
            _ => continue,
        };
        let number = descriptor.file_name().to_str().and_then(|name| name.parse().ok());
        if number.is_some_and(is_close_on_exec) {
            return Some(kind);
        }
    }
    None
}

fn is_close_on_exec(descriptor: RawFd) -> bool {
    // SAFETY: fcntl(2) with F_GETFD takes any number and touches no memory; a number that is not open is EBADF.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    flags != -1 && FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC)
}

/// The number that the next descriptor would get: unchanged as long as no descriptor was opened for good.
pub(crate) fn lowest_free_descriptor() -> io::Result<RawFd> {
    use std::os::fd::FromRawFd;

    let number = fcntl(io::stdin().as_fd(), FcntlArg::F_DUPFD_CLOEXEC(0))?;
    // SAFETY: fcntl(2) with F_DUPFD_CLOEXEC returned a new descriptor, which nothing else owns.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(descriptor.as_raw_fd())
}
