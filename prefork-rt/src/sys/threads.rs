//! What makes a fork unsafe: other threads, and event loops that would be shared. It must not know what follows from that.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use super::descriptor;
use super::listing::names_in;

/// Proof that this process had one thread a moment ago. The thread that has the proof is that one.
pub(crate) struct SingleThread {
    /// Keeps the proof on the thread that made it.
    _thread: PhantomData<*const ()>,
}

/// Whether this process has other threads.
pub(crate) enum Threads {
    None(SingleThread),
    Others {
        /// Those whose names can be read.
        threads: Vec<Thread>,
        /// All of them run no code of this program any more, and the system is about to remove them.
        are_ending: bool,
    },
    /// The system does not tell: there may be other threads.
    Unknown(SingleThread),
}

/// A thread of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    /// Its number in /proc.
    pub(crate) id: u32,
    pub(crate) name: String,
}

/// Looks for other threads. It costs little where there are none.
pub(crate) fn other_threads() -> Threads {
    let single_thread = SingleThread { _thread: PhantomData };
    match has_one_thread() {
        Some(true) => Threads::None(single_thread),
        Some(false) => others(),
        None => Threads::Unknown(single_thread),
    }
}

/// Whether this is the thread that the program began with.
pub(crate) fn is_main_thread() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // SAFETY: gettid(2) takes nothing, touches no memory and cannot fail.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) };
        thread == super::getpid().as_raw().into()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        std::thread::current().name() == Some("main")
    }
}

#[cfg(target_os = "linux")]
fn has_one_thread() -> Option<bool> {
    use super::outcome::{checked, is};

    // unshare(2) with CLONE_THREAD alone does nothing in a process of one thread and is EINVAL in any other; seccomp
    // filters of containers may refuse the call.
    // SAFETY: unshare(2) takes a number and touches no memory; see above for what it does.
    match checked(unsafe { libc::unshare(libc::CLONE_THREAD) }) {
        Ok(_) => Some(true),
        Err(error) if is(&error, libc::EINVAL) => Some(false),
        Err(_) => names_in("/proc/self/task").map(|tasks| tasks.len() == 1),
    }
}

#[cfg(not(target_os = "linux"))]
fn has_one_thread() -> Option<bool> {
    None
}

fn others() -> Threads {
    // /proc may be that of another PID namespace, and have another number for this thread.
    let own = fs::read_link("/proc/thread-self").ok();
    let own = own.as_deref().and_then(Path::file_name);
    let (mut threads, mut are_ending) = (Vec::new(), own.is_some());
    let tasks = names_in("/proc/self/task").unwrap_or_default();
    are_ending &= !tasks.is_empty();
    for task in tasks.iter().filter(|task| Some(task.as_os_str()) != own) {
        // A thread that cannot be read any more is gone.
        let read = |file| fs::read_to_string(Path::new("/proc/self/task").join(task).join(file)).ok();
        are_ending &= read("stat").is_none_or(|stat| is_ending(&stat));
        if let (Some(Ok(id)), Some(name)) = (task.to_str().map(str::parse), read("comm")) {
            threads.push(Thread { id, name: name.trim_end().to_owned() });
        }
    }
    Threads::Others { threads, are_ending }
}

/// Whether a line of /proc/PID/task/TID/stat is of a thread that runs no code of this program any more. A thread that was
/// joined may still be in /proc like that.
fn is_ending(stat: &str) -> bool {
    const PF_EXITING: u32 = 4;
    // The name, in front of the last parenthesis, may contain anything.
    let flags =
        stat.rsplit_once(')').and_then(|(_, fields)| fields.split_ascii_whitespace().nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// The kind of event loop that this process has made and not closed, if any: epoll or io_uring.
///
/// Libraries make theirs close-on-exec. An event loop without that flag was inherited through exec(2), and belongs to another
/// process.
pub(crate) fn event_loop(descriptors: &Descriptors) -> Option<&'static str> {
    descriptors.iter().find_map(|&(descriptor, open)| match open {
        Open::EventLoop(kind) => is_close_on_exec(descriptor).then_some(kind),
        Open::Socket(_) | Open::Other => None,
    })
}

/// The descriptors of this process, and what is open under each.
pub(crate) type Descriptors = Vec<(RawFd, Open)>;

/// What is open under a descriptor, as far as it matters for a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// A socket, by the number that no other socket of the kernel has.
    Socket(u64),
    /// An event loop of this kind.
    EventLoop(&'static str),
    Other,
}

/// What is open. It is empty where there is no /proc.
pub(crate) fn descriptors() -> Descriptors {
    low_descriptors().unwrap_or_else(listed_descriptors)
}

/// The descriptors, if all numbers are low: stat(2) of /proc/self/fd tells how many there are, as its size, from Linux 6.2 on.
/// That takes a third of the time of a list, for which the kernel makes an inode for each.
fn low_descriptors() -> Option<Descriptors> {
    const LOW: RawFd = 32;

    let count = usize::try_from(fs::metadata("/proc/self/fd").ok()?.len()).ok()?;
    if count == 0 || count > LOW as usize {
        return None;
    }
    let mut descriptors = Vec::with_capacity(count);
    for number in 0..LOW {
        descriptors.extend(open_under(number).map(|open| (number, open)));
        if descriptors.len() == count {
            return Some(descriptors);
        }
    }
    None
}

/// Lists /proc/self/fd.
fn listed_descriptors() -> Descriptors {
    let names = names_in("/proc/self/fd").unwrap_or_default();
    let mut descriptors = Vec::new();
    for name in names {
        if let Some(Ok(descriptor)) = name.to_str().map(str::parse) {
            // The descriptor of the list itself is in the list, and is closed by now.
            descriptors.extend(open_under(descriptor).map(|open| (descriptor, open)));
        }
    }
    descriptors
}

/// fstat(2); and readlink(2) in /proc, which takes seven times as long, only for what has no type of its own: "anon inodes", as
/// event loops are.
fn open_under(descriptor: RawFd) -> Option<Open> {
    let status = descriptor::status(descriptor).ok()?;
    Some(match status.st_mode & libc::S_IFMT {
        // The type is another one on other systems.
        #[allow(clippy::useless_conversion, reason = "it is u64 on Linux")]
        libc::S_IFSOCK => Open::Socket(status.st_ino.into()),
        0 => match fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?.to_str() {
            Some("anon_inode:[eventpoll]") => Open::EventLoop("epoll"),
            Some("anon_inode:[io_uring]") => Open::EventLoop("io_uring"),
            _ => Open::Other,
        },
        _ => Open::Other,
    })
}

pub(super) fn is_close_on_exec(descriptor: RawFd) -> bool {
    descriptor::flags(descriptor).is_ok_and(|flags| flags & libc::FD_CLOEXEC != 0)
}

/// The number that the next descriptor would get. It stays the same as long as no descriptor is opened for good.
pub(crate) fn lowest_free_descriptor() -> io::Result<RawFd> {
    Ok(descriptor::copy_to_lowest(io::stdin().as_fd(), 0)?.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_is_told_from_one_that_runs() {
        assert!(!is_ending("4711 (a) 6 (b) R 1 4711 4711 0 -1 4194368 0 0"));
        assert!(is_ending("4711 (a) R 1 4711 4711 0 -1 4194372 0 0"));
        for broken in ["", "4711 (a) R", "4711 (a) R 1 2 3 4 5 many"] {
            assert!(!is_ending(broken), "{broken}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn low_descriptors_are_those_of_the_list() {
        use std::os::fd::AsFd;
        use std::process::Command;

        const VARIABLE: &str = "PREFORK_TEST_OF_LOW_DESCRIPTORS";
        if std::env::var_os(VARIABLE).is_none() {
            // In a process of its own: other tests open and close descriptors meanwhile.
            let this = "unix::sys::threads::tests::low_descriptors_are_those_of_the_list";
            let mut alone = Command::new(std::env::current_exe().expect("a program"));
            let outcome =
                alone.args([this, "--exact", "--test-threads=1"]).env(VARIABLE, "1").output().expect("started");
            return assert!(outcome.status.success(), "{outcome:?}");
        }
        let listed = || {
            let mut listed = listed_descriptors();
            listed.sort_by_key(|&(number, _)| number);
            listed
        };
        let before = low_descriptors();
        assert!(before.is_none_or(|low| low == listed()), "an older kernel does not tell");
        let high = descriptor::copy_to_lowest(io::stdin().as_fd(), 100).expect("a copy");
        assert_eq!(low_descriptors(), None, "one is high");
        assert!(descriptors().iter().any(|(number, _)| *number == high.as_raw_fd()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn descriptors_are_told_apart_by_what_is_open_under_them() {
        use std::net::UdpSocket;

        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let file = fs::File::open("/dev/null").expect("a file");
        let (reader, _writer) = descriptor::pipe().expect("a pipe");
        let open = descriptors();
        let found = |number: RawFd| open.iter().find(|(found, _)| *found == number).map(|(_, open)| *open);
        assert_eq!(found(file.as_raw_fd()), Some(Open::Other));
        assert_eq!(found(reader.as_raw_fd()), Some(Open::Other));
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).expect("Linux tells");
        let Some(Open::Socket(number)) = found(socket.as_raw_fd()) else { panic!("{open:?}") };
        assert_eq!(link.to_str(), Some(&*format!("socket:[{number}]")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_event_loop_of_a_runtime_is_found() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        assert_eq!(event_loop(&descriptors()), Some("epoll"));
        drop(runtime);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_thread_is_not_ending() {
        let stat = fs::read_to_string("/proc/thread-self/stat").expect("Linux tells");
        assert!(!is_ending(&stat), "{stat}");
    }
}
