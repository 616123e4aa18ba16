//! Making and ending processes, and what one is: its group, its session, its rights.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, c_int};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::outcome::{checked, is};
use super::{Signal, SingleThread, descriptor, of_call};

/// A process id as the kernel gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pid(libc::pid_t);

impl Pid {
    #[inline]
    pub(crate) const fn from_raw(pid: libc::pid_t) -> Pid {
        Pid(pid)
    }

    #[inline]
    pub(crate) const fn as_raw(self) -> libc::pid_t {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which side of the fork this is.
pub(crate) enum Fork {
    Parent(Pid),
    /// The new process, which has one thread.
    Child,
}

/// fork(2).
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn fork(_: SingleThread) -> io::Result<Fork> {
    // SAFETY: after fork(2) in a process with several threads, the child would have locks that no thread will release.
    // `other_threads` makes a `SingleThread` when it has found no other thread, and this thread starts none before it gets
    // here, so the child has every lock in the state in which this thread has left it. Where the system tells nothing of
    // threads, `SingleThread` rests on the word of the user, who was warned.
    match checked(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent(Pid(child))),
    }
}

static IS_FORKED: AtomicBool = AtomicBool::new(false);

/// Makes [`is_forked`] true in every process that this one forks from here on: pthread_atfork(3).
pub(crate) fn notice_forks() -> io::Result<()> {
    extern "C" fn in_child() {
        IS_FORKED.store(true, Ordering::Relaxed);
    }
    // SAFETY: pthread_atfork(3) stores a pointer to a function of this program. The function takes no argument and stores to
    // one atomic, which is allowed between fork(2) and exec(2) in a process with threads.
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => Ok(()),
        error => Err(of_call("pthread_atfork(3)")(io::Error::from_raw_os_error(error))),
    }
}

/// Whether this process was forked from one that had called [`notice_forks`]. Without a system call.
#[inline]
pub(crate) fn is_forked() -> bool {
    IS_FORKED.load(Ordering::Relaxed)
}

/// getpid(2).
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn getpid() -> Pid {
    // SAFETY: getpid(2) takes nothing, touches no memory and cannot fail.
    Pid(unsafe { libc::getpid() })
}

/// getpgrp(2).
pub(crate) fn getpgrp() -> Pid {
    // SAFETY: getpgrp(2) takes nothing, touches no memory and cannot fail.
    Pid(unsafe { libc::getpgrp() })
}

/// The leader of this process's session: getsid(2). It is 0 for any process of another PID namespace, and so is the sender of
/// a signal from there. A comparison of the two must therefore leave 0 out.
pub(crate) fn getsid() -> Pid {
    // SAFETY: getsid(2) takes any number and touches no memory. For this process itself it cannot fail.
    Pid(unsafe { libc::getsid(0) }.max(0))
}

/// Whether this process has a controlling terminal that is still connected: open(2) of /dev/tty.
pub(crate) fn has_terminal() -> bool {
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    match OpenOptions::new().read(true).custom_flags(flags).open("/dev/tty") {
        Ok(_) => true,
        // Any other error, such as that no descriptor is left, says nothing about the terminal.
        Err(error) => !matches!(error.raw_os_error(), Some(libc::ENXIO | libc::EIO | libc::ENODEV | libc::ENOENT)),
    }
}

/// Makes this process the leader of a group of its own: setpgid(2).
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn lead_group() {
    // It fails only for a session leader, which leads its group already.
    // SAFETY: setpgid(2) takes any two numbers and touches no memory.
    let _ = unsafe { libc::setpgid(0, 0) };
}

/// Asks the kernel to kill this process when its parent ends: prctl(2) with PR_SET_PDEATHSIG. A change of user or group
/// cancels that, and so does the end of the calling thread. Does nothing where there is no such call.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn die_with_parent() -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    set_attribute(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)?;
    Ok(())
}

/// Keeps this process from gaining rights by what it executes, for good: prctl(2) with PR_SET_NO_NEW_PRIVS.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn set_no_new_privs() -> io::Result<()> {
    set_attribute(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// prctl(2), with an attribute of this process that is a number.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline] // Each page of code that a new worker enters costs it a fault.
fn set_attribute(attribute: c_int, value: libc::c_ulong) -> io::Result<()> {
    const UNUSED: libc::c_ulong = 0;
    // SAFETY: with one of the attributes above, prctl(2) takes numbers and touches no memory.
    let set = unsafe { libc::prctl(attribute, value, UNUSED, UNUSED, UNUSED) };
    checked(set).map(drop).map_err(of_call("prctl(2)"))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn set_no_new_privs() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// umask(2): permission bits above the lowest nine are not its affair.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: umask(2) takes any number, touches no memory and cannot fail.
    unsafe { libc::umask(mask as libc::mode_t) };
}

/// getppid(2).
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn getppid() -> Pid {
    // SAFETY: getppid(2) takes nothing, touches no memory and cannot fail.
    Pid(unsafe { libc::getppid() })
}

/// Ends this process at once: `_exit(2)`. No destructor and no exit handler runs.
pub(crate) fn end_now(status: c_int) -> ! {
    // SAFETY: _exit(2) takes any integer and does not return; nothing of this process is used after it.
    unsafe { libc::_exit(status) }
}

/// kill(2). It is no error if the process is gone already.
pub(crate) fn kill(pid: Pid, signal: Signal) -> io::Result<()> {
    match send(pid.as_raw(), signal as c_int) {
        Err(error) if is(&error, libc::ESRCH) => Ok(()),
        sent => sent,
    }
}

/// Whether there is such a process, a zombie included: kill(2) with signal 0.
pub(crate) fn exists(pid: Pid) -> bool {
    !send(pid.as_raw(), 0).is_err_and(|error| is(&error, libc::ESRCH))
}

/// kill(2) to `pid`, which may have left its group or not made it yet, then killpg(2) to the group. In this order, because
/// after a SIGKILL the process adds none to the group.
pub(crate) fn kill_group(pid: Pid, signal: Signal) -> io::Result<()> {
    let sent = kill(pid, signal);
    // There is no such group when the process has moved to another and had made no process before.
    let _ = send_to_group(pid, signal as c_int);
    sent
}

/// Sends a signal of any number to the processes of a group, or only checks that there are some where it is 0: killpg(3), which
/// POSIX defines by kill(2).
pub(super) fn send_to_group(group: Pid, signal: c_int) -> io::Result<()> {
    send(-group.as_raw(), signal)
}

/// Sends a signal of any number to a process: kill(2). Async-signal-safe.
pub(super) fn send(pid: i32, signal: c_int) -> io::Result<()> {
    // SAFETY: kill(2) takes any two numbers and touches no memory.
    checked(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Puts /dev/null in the place of standard input: open(2), dup2(2).
pub(crate) fn stdin_to_null() -> io::Result<()> {
    let null = File::open("/dev/null").map_err(of_call("open(2) of /dev/null"))?;
    keep_as(libc::STDIN_FILENO, null)
}

/// Opens /dev/null in the place of standard input, output or error where one is closed, as the standard library does before
/// `main`: fcntl(2), open(2). Otherwise the next socket would get that number, and what is printed.
pub(crate) fn open_standard_descriptors() -> io::Result<()> {
    for number in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        if descriptor::flags(number).is_ok() {
            continue;
        }
        let null = File::options().read(true).write(true).open("/dev/null").map_err(of_call("open(2) of /dev/null"))?;
        // It has the lowest number that is free: this one, unless another thread has just opened something.
        if null.as_raw_fd() == number {
            keep_as(number, null)?;
        }
    }
    Ok(())
}

/// Has a file open under this number, not close-on-exec, until something else closes it.
fn keep_as(number: RawFd, file: File) -> io::Result<()> {
    descriptor::replace(number, file.as_fd())?;
    if file.as_raw_fd() == number {
        mem::forget(file);
    }
    Ok(())
}

/// Whether this program has more rights than its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// The program has its caller's rights.
    Callers,
    /// It has more rights, as its caller's user and in its caller's group: file capabilities, or a transition of a security
    /// module.
    #[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code, reason = "Linux alone tells"))]
    More,
    /// It runs as another user or group than its caller: set-user-ID, set-group-ID.
    Anothers,
}

/// The rights that the kernel gave this program when it was started: getauxval(3). Changes since then do not matter, because
/// its environment is from the start, too.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn rights() -> Rights {
    // SAFETY: getauxval(3) takes any number, reads the vector that the kernel gave this process, and returns 0 for what
    // is not in it.
    let started_with = |what| unsafe { libc::getauxval(what) };
    let is_another = started_with(libc::AT_UID) != started_with(libc::AT_EUID)
        || started_with(libc::AT_GID) != started_with(libc::AT_EGID);
    match (started_with(libc::AT_SECURE), is_another) {
        (0, _) => Rights::Callers,
        (_, false) => Rights::More,
        (_, true) => Rights::Anothers,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn rights() -> Rights {
    use super::credentials::{getegid, geteuid, getgid, getuid};

    let is_another = getuid() != geteuid() || getgid() != getegid();
    if is_another { Rights::Anothers } else { Rights::Callers }
}

/// Whether the kernel started this program with more rights than its caller has.
pub(crate) fn is_privileged_start() -> bool {
    rights() != Rights::Callers
}

/// Whether the caller of this program could write to a file by its own rights: access(2), which checks the real user.
pub(crate) fn caller_can_write(file: &Path) -> bool {
    let Ok(file) = CString::new(file.as_os_str().as_bytes()) else { return false };
    // SAFETY: access(2) reads a text that ends with a zero, which lives until it returns.
    unsafe { libc::access(file.as_ptr(), libc::W_OK) == 0 }
}

/// Removes an environment variable.
pub(crate) fn remove_variable(name: &str, _: &SingleThread) {
    // SAFETY: changing the environment races with other threads that read it. `SingleThread` says that there are none.
    unsafe { std::env::remove_var(name) };
}

/// Sets an environment variable.
pub(crate) fn set_variable(name: &str, value: &OsStr, _: &SingleThread) {
    // SAFETY: changing the environment races with other threads that read it. `SingleThread` says that there are none.
    unsafe { std::env::set_var(name, value) };
}

/// Eight random bytes from the kernel: getrandom(2), which every C library of Linux has; getentropy(3) elsewhere.
pub(crate) fn entropy() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: getrandom(2) writes at most as many bytes as the second argument says, which is the array's length.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } == 8;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    // SAFETY: getentropy(3) writes exactly as many bytes as the second argument says, which is the array's length.
    let filled = unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) } == 0;
    if filled { Ok(u64::from_ne_bytes(bytes)) } else { Err(io::Error::last_os_error()) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The session and the terminal of this process, as /proc numbers them.
    fn session_and_terminal() -> (i32, i32) {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
        let fields = stat.rsplit_once(") ").expect("a name in parentheses").1.split(' ');
        let mut numbers = fields.skip(3).map(|field| field.parse().expect("a number"));
        (numbers.next().expect("the session"), numbers.next().expect("the terminal"))
    }

    #[test]
    fn a_signal_to_a_process_that_is_gone_is_no_error() {
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        let pid = Pid::from_raw(child.id() as i32);
        assert!(exists(pid), "it was not reaped");
        child.wait().expect("reaped");
        // By default this signal is ignored, should another process have the id by now.
        kill(pid, Signal::SIGWINCH).expect("it is gone");
        assert!(exists(getpid()) && exists(getppid()));
        assert!(send(getpid().as_raw(), 4711).is_err_and(|error| is(&error, libc::EINVAL)));
    }

    #[test]
    fn the_session_and_its_terminal_are_what_the_kernel_says() {
        let (session, terminal) = session_and_terminal();
        assert_eq!(getsid().as_raw(), session);
        assert_eq!(has_terminal(), terminal != 0);
    }
}
