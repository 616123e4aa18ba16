//! Becoming another program, or starting one, and the descriptors that it is given.
#![allow(unsafe_code)]

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::outcome::checked;
use super::{
    Fork, Mask, Pid, SingleThread, default_broken_pipes, descriptor, die_with_parent, end_now, errno, lead_group,
    of_call,
};

/// The environment of a program that is started.
pub(crate) type Variables<'a> = &'a [(OsString, OsString)];

/// execve(2). Returns only when it fails.
pub(crate) fn exec(binary: &Path, arguments: &[OsString], variables: Variables<'_>) -> io::Error {
    error_of(|| {
        let binary = c_string(binary.as_os_str())?;
        execve(&binary, &c_arguments(arguments)?, &c_variables(variables)?)
    })
}

/// fexecve(3): becomes a program that is open, whatever has become of its file. Returns only when it fails.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn exec_open(binary: BorrowedFd<'_>, arguments: &[OsString], variables: Variables<'_>) -> io::Error {
    error_of(|| {
        let (arguments, variables) = (c_arguments(arguments)?, c_variables(variables)?);
        let (arguments, variables) = (pointers(&arguments), pointers(&variables));
        // SAFETY: fexecve(3) reads two lists that end with a null pointer, of texts that end with a zero. The texts live until
        // it returns.
        unsafe { libc::fexecve(binary.as_raw_fd(), arguments.as_ptr(), variables.as_ptr()) };
        Err(io::Error::last_os_error())
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn exec_open(_: BorrowedFd<'_>, _: &[OsString], _: Variables<'_>) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

fn execve(binary: &CStr, arguments: &[CString], variables: &[CString]) -> io::Result<Infallible> {
    let (arguments, variables) = (pointers(arguments), pointers(variables));
    // SAFETY: execve(2) reads a text, and two lists of texts that end with a null pointer; the texts end with a zero, and live
    // until it returns.
    unsafe { libc::execve(binary.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
    Err(io::Error::last_os_error())
}

/// Pointers to the texts, and a null pointer after them.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    let mut pointers = Vec::with_capacity(texts.len() + 1);
    for text in texts {
        pointers.push(text.as_ptr());
    }
    pointers.push(ptr::null());
    pointers
}

/// The error of something that cannot succeed.
fn error_of(fails: impl FnOnce() -> io::Result<Infallible>) -> io::Error {
    let Err(error) = fails();
    error
}

fn c_arguments(arguments: &[OsString]) -> io::Result<Vec<CString>> {
    let mut texts = Vec::with_capacity(arguments.len());
    for argument in arguments {
        texts.push(c_string(argument)?);
    }
    Ok(texts)
}

fn c_variables(variables: Variables<'_>) -> io::Result<Vec<CString>> {
    let mut texts = Vec::with_capacity(variables.len());
    for (name, value) in variables {
        let mut text = name.clone();
        text.push("=");
        text.push(value);
        texts.push(c_string(&text)?);
    }
    Ok(texts)
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

/// Opens the program that this process runs, so that it can be run again when its file was removed or replaced: open(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn own_binary() -> io::Result<OwnedFd> {
    open_for_its_place("/proc/self/exe".as_ref())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn own_binary() -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens a file or directory only to name it later: open(2).
pub(crate) fn open_for_its_place(path: &Path) -> io::Result<OwnedFd> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let flags = libc::O_PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let flags = libc::O_RDONLY;
    descriptor::open(&c_string(path.as_os_str())?, flags)
}

/// fchdir(2).
pub(crate) fn change_directory(directory: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: fchdir(2) takes any number and touches no memory.
    checked(unsafe { libc::fchdir(directory.as_raw_fd()) }).map(drop)
}

/// The kernel makes a pipe this wide for any user.
pub(crate) const WIDEST_PIPE: usize = 1 << 20;

/// The reading and the writing end of a pipe that takes up to [`WIDEST_PIPE`] bytes before anything is read: pipe(2), fcntl(2).
/// Reading never waits. Both ends are close-on-exec.
pub(crate) fn wide_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = descriptor::pipe()?;
    descriptor::set_status_flags(reader.as_raw_fd(), libc::O_NONBLOCK)?;
    // Where the user's pipes hold too much already, a narrow one will do.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = descriptor::set_pipe_size(writer.as_fd(), WIDEST_PIPE as c_int);
    Ok((reader, writer))
}

/// Sets whether a program that this process becomes has this descriptor: fcntl(2).
pub(crate) fn stay_open_on_exec(descriptor: BorrowedFd<'_>, stays: bool) -> io::Result<()> {
    descriptor::set_flags(descriptor.as_raw_fd(), if stays { 0 } else { libc::FD_CLOEXEC })
}

/// Takes over a descriptor that the program before has left under this number, and makes it close-on-exec. Call it before
/// anything else runs that could open or close descriptors.
pub(crate) fn take_over(number: RawFd) -> io::Result<OwnedFd> {
    descriptor::set_flags(number, libc::FD_CLOEXEC)?;
    // SAFETY: the descriptor is open, as fcntl(2) has just found. It came through exec(2) without the flag, so nothing
    // of this program has opened it: Rust's library opens all of its own with the flag, and this is called once for
    // each number, before the program's own code runs.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A program for [`spawn`], and what it is started with.
pub(crate) struct Start<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) arguments: &'a [OsString],
    pub(crate) variables: Variables<'a>,
    pub(crate) directory: &'a Path,
    pub(crate) mask: &'a Mask,
    /// Takes the place of standard output and standard error. Standard input is /dev/null.
    pub(crate) output: BorrowedFd<'a>,
    /// Other descriptors that the program has, under the numbers that they have here.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
}

/// Starts a program in a process group of its own: fork(2), execve(2). The kernel kills the program when this process ends.
///
/// std's `Command` would do, but it panics where the pipe by which the child reports fails.
pub(crate) fn spawn(start: &Start<'_>, single_thread: SingleThread) -> io::Result<Pid> {
    let binary = c_string(start.binary.as_os_str())?;
    let (arguments, variables) = (c_arguments(start.arguments)?, c_variables(start.variables)?);
    let null = File::open("/dev/null").map_err(of_call("open(2) of /dev/null"))?;
    let (report, reporter) = descriptor::pipe().map_err(of_call("pipe(2)"))?;
    match super::fork(single_thread)? {
        Fork::Child => {
            let error = error_of(|| {
                start.prepare(&null)?;
                execve(&binary, &arguments, &variables).map_err(of_call("execve(2)"))
            });
            let number = errno(&error).unwrap_or(libc::EINVAL);
            // A parent that cannot read it sees the exit status.
            let _ = File::from(reporter).write_all(&number.to_ne_bytes());
            end_now(NOT_RUN)
        }
        Fork::Parent(pid) => {
            drop(reporter);
            match reported(report) {
                // The caller reaps it with all other children.
                None => Ok(pid),
                Some(error) => Err(error),
            }
        }
    }
}

/// The exit status that shells use for a program that they could not run.
const NOT_RUN: c_int = 127;

/// Why the child could not run the program.
fn reported(report: OwnedFd) -> Option<io::Error> {
    let mut number = [0; size_of::<c_int>()];
    // Where nothing can be read, the program runs, or the exit status of the child will say that it does not.
    File::from(report).read_exact(&mut number).ok()?;
    Some(io::Error::from_raw_os_error(c_int::from_ne_bytes(number)))
}

impl Start<'_> {
    /// In the child.
    fn prepare(&self, null: &File) -> io::Result<()> {
        lead_group();
        self.mask.restore_before_exec()?;
        default_broken_pipes()?;
        die_with_parent()?;
        std::env::set_current_dir(self.directory)?;
        descriptor::replace(libc::STDIN_FILENO, null.as_fd())?;
        descriptor::replace(libc::STDOUT_FILENO, self.output)?;
        descriptor::replace(libc::STDERR_FILENO, self.output)?;
        self.descriptors.iter().try_for_each(|descriptor| stay_open_on_exec(*descriptor, true))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_stays_open_is_taken_over_for_this_process_alone() {
        let (reader, writer) = descriptor::pipe().unwrap();
        stay_open_on_exec(reader.as_fd(), true).unwrap();
        let flags = |descriptor: BorrowedFd<'_>| descriptor::flags(descriptor.as_raw_fd()).unwrap();
        assert_eq!(flags(reader.as_fd()), 0);
        let taken = take_over(std::os::fd::IntoRawFd::into_raw_fd(reader)).unwrap();
        assert_eq!(flags(taken.as_fd()), libc::FD_CLOEXEC);
        File::from(writer).write_all(b"x").unwrap();
        let mut byte = [0];
        File::from(taken).read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        assert!(take_over(1 << 20).is_err());
    }

    #[test]
    fn what_is_opened_for_its_place_takes_no_right_to_read_it() {
        for opened in [own_binary().unwrap(), open_for_its_place("/".as_ref()).unwrap()] {
            assert_ne!(descriptor::status_flags(opened.as_raw_fd()).unwrap() & libc::O_PATH, 0);
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = exec("/nowhere/at/all".as_ref(), &["x".into()], &[]);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = exec("/a\0b".as_ref(), &[], &[]);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
