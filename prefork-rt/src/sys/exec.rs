//! Becoming another program, and what it is handed: descriptors, and files that are memory only.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd;

use super::{CallError, Mask, Pid, die_with_parent};

/// What a program is started with.
pub(crate) type Variables<'a> = &'a [(OsString, OsString)];

/// execve(2). Returns only when it fails.
pub(crate) fn exec(binary: &Path, arguments: &[OsString], variables: Variables<'_>) -> io::Error {
    let failed = || {
        let binary = c_string(binary.as_os_str())?;
        let Err(error) = unistd::execve(&binary, &c_arguments(arguments)?, &c_variables(variables)?);
        Err(error.into())
    };
    let result: io::Result<std::convert::Infallible> = failed();
    let Err(error) = result;
    error
}

/// fexecve(3): a program that is open, whatever has become of its file. Returns only when it fails.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn exec_open(binary: BorrowedFd<'_>, arguments: &[OsString], variables: Variables<'_>) -> io::Error {
    let failed = || {
        let Err(error) = unistd::fexecve(binary, &c_arguments(arguments)?, &c_variables(variables)?);
        Err(error.into())
    };
    let result: io::Result<std::convert::Infallible> = failed();
    let Err(error) = result;
    error
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn exec_open(_: BorrowedFd<'_>, _: &[OsString], _: Variables<'_>) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

fn c_arguments(arguments: &[OsString]) -> io::Result<Vec<CString>> {
    arguments.iter().map(|argument| c_string(argument)).collect()
}

fn c_variables(variables: Variables<'_>) -> io::Result<Vec<CString>> {
    let joined = |(name, value): &(OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    variables.iter().map(|variable| c_string(OsStr::from_bytes(&joined(variable)))).collect()
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

/// The program that this process runs, opened so that it can be run again when its file is gone or another: open(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn own_binary() -> io::Result<OwnedFd> {
    open_for_its_place("/proc/self/exe".as_ref())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn own_binary() -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens a file or directory for nothing but to name it later: open(2).
pub(crate) fn open_for_its_place(path: &Path) -> io::Result<OwnedFd> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let flags = nix::fcntl::OFlag::O_PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let flags = nix::fcntl::OFlag::O_RDONLY;
    Ok(nix::fcntl::open(path, flags | nix::fcntl::OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?)
}

/// fchdir(2).
pub(crate) fn change_directory(directory: BorrowedFd<'_>) -> io::Result<()> {
    Ok(unistd::fchdir(directory)?)
}

/// A file that is memory only, of this size, which nobody can change: memfd_create(2), ftruncate(2).
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] where the system has no such file; a limit on the size of files (RLIMIT_FSIZE).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn memory_file(name: &str, size: usize) -> io::Result<File> {
    use nix::fcntl::SealFlag;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    super::without_file_size_signal(|| file.set_len(size as u64))?;
    // A file that shrank would be a trap for whoever has it mapped: SIGBUS.
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn memory_file(_: &str, _: usize) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A file that is memory only, empty, and grows: memfd_create(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn scratch_file(name: &str) -> io::Result<File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    Ok(memfd_create(name, MFdFlags::MFD_CLOEXEC)?.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn scratch_file(_: &str) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// As wide as the kernel makes a pipe for any user.
pub(crate) const WIDEST_PIPE: usize = 1 << 20;

/// The reading and the writing end of a pipe that takes much before anything is read: pipe(2), fcntl(2). To read never
/// waits. Neither end is another program's.
pub(crate) fn wide_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = unistd::pipe()?;
    for end in [&reader, &writer] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    fcntl(&reader, FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    // Where the user has too many already, a narrow one will do.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(WIDEST_PIPE as libc::c_int));
    Ok((reader, writer))
}

/// Whether a program that this process becomes has this descriptor: fcntl(2).
pub(crate) fn stay_open_on_exec(descriptor: BorrowedFd<'_>, stays: bool) -> io::Result<()> {
    let flags = if stays { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Takes over a descriptor that this process was handed under this number, for this process alone. At once, before
/// anything else runs that could open or close descriptors: the caller says that the program before has left it to us.
pub(crate) fn take_over(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) with F_SETFD takes any number and touches no memory; one that is not open is EBADF.
    let set = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    nix::errno::Errno::result(set)?;
    // SAFETY: the descriptor is open, as fcntl(2) has just found. It came through exec(2) without the flag, so nothing
    // of this program has opened it: Rust's library opens all of its own with the flag, and this is called once for
    // each number, before the program's own code runs.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Starts a program in a process group of its own, with this signal mask and these descriptors, which ends when this
/// process does.
pub(crate) fn spawn(command: &mut Command, mask: &Mask, descriptors: &[BorrowedFd<'_>]) -> io::Result<Pid> {
    let (mask, numbers) = (mask.clone(), descriptors.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>());
    command.process_group(0);
    let stay_open = |&number: &RawFd| {
        // SAFETY: the caller has borrowed the descriptors until the program is started, so they are open, here too.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        stay_open_on_exec(descriptor, true)
    };
    let prepare = move || {
        let prepared = mask
            .restore_before_exec()
            .and_then(|()| die_with_parent())
            .and_then(|()| numbers.iter().try_for_each(stay_open));
        // std hands the number of the error on to this process, and an error with the name of a call seems to have none.
        prepared.map_err(|error| CallError::of(error, "fcntl(2)").source)
    };
    // SAFETY: between fork(2) and exec(2) the closure makes system calls (sigaction, sigprocmask, prctl, fcntl) that
    // signal-safety(7) lists or that are thin wrappers, and takes no lock. It allocates only where one fails, which is safe
    // as the C library keeps its heap whole across fork(2).
    unsafe { command.pre_exec(prepare) };
    let child = command.spawn()?;
    // It is reaped with all others.
    Ok(Pid::from_raw(child.id() as i32))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_memory_file_has_its_size_for_good() {
        let file = memory_file("test", 8192).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 8192);
        assert!(file.set_len(4096).is_err() && file.set_len(9000).is_err());
    }

    #[test]
    fn what_was_to_stay_open_is_taken_over_for_this_process_alone() {
        let (reader, writer) = unistd::pipe().unwrap();
        stay_open_on_exec(reader.as_fd(), true).unwrap();
        let flags = |descriptor: BorrowedFd<'_>| fcntl(descriptor, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags(reader.as_fd()), 0);
        let taken = take_over(std::os::fd::IntoRawFd::into_raw_fd(reader)).unwrap();
        assert_eq!(flags(taken.as_fd()), FdFlag::FD_CLOEXEC.bits());
        File::from(writer).write_all(b"x").unwrap();
        let mut byte = [0];
        File::from(taken).read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        assert!(take_over(1 << 20).is_err());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = exec("/nowhere/at/all".as_ref(), &["x".into()], &[]);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = exec("/a\0b".as_ref(), &[], &[]);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
