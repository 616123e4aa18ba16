//! What one descriptor is: its file, its flags, its copies, and its number. It must not know what the file is for.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::of_call;
use super::outcome::{checked, uninterrupted};

/// The descriptor that a call has returned, or the call's error.
///
/// # Safety
///
/// The call makes a new descriptor, which nothing else owns, or returns -1.
pub(super) unsafe fn made(returned: c_int) -> io::Result<OwnedFd> {
    let number = checked(returned)?;
    // SAFETY: the caller says that it is new.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Opens a file that exists, close-on-exec: open(2), with these flags. For musl std's `OpenOptions` leaves O_PATH out of them,
/// because it is part of O_ACCMODE there.
pub(super) fn open(path: &CStr, flags: c_int) -> io::Result<OwnedFd> {
    uninterrupted(|| {
        // SAFETY: open(2) reads a text that ends with a zero, which lives until it returns.
        let opened = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) };
        // SAFETY: open(2) returns a new descriptor, which nothing else owns, or -1.
        unsafe { made(opened) }
    })
}

/// The reading and the writing end of a pipe, both close-on-exec: pipe(2), fcntl(2).
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = MaybeUninit::<[OwnedFd; 2]>::uninit();
    // SAFETY: pipe(2) writes two descriptors through the pointer, which is to a live local of that size: an OwnedFd has the
    // representation of a descriptor.
    checked(unsafe { libc::pipe(ends.as_mut_ptr().cast()) })?;
    // SAFETY: pipe(2) has succeeded, so it has written two new descriptors, which nothing else owns.
    let [reader, writer] = unsafe { ends.assume_init() };
    for end in [&reader, &writer] {
        set_flags(end.as_raw_fd(), libc::FD_CLOEXEC).map_err(of_call("fcntl(2)"))?;
    }
    Ok((reader, writer))
}

/// A copy of a descriptor, close-on-exec, with the lowest number that is free from this one on: fcntl(2) with F_DUPFD_CLOEXEC.
pub(super) fn copy_to_lowest(descriptor: BorrowedFd<'_>, from: RawFd) -> io::Result<OwnedFd> {
    let number = control(descriptor.as_raw_fd(), libc::F_DUPFD_CLOEXEC, from)?;
    // SAFETY: fcntl(2) with F_DUPFD_CLOEXEC has returned a new descriptor, which nothing else owns.
    unsafe { made(number) }
}

/// Puts a copy of a descriptor in the place of the one with this number, not close-on-exec: dup2(2). What owns the number has
/// an open descriptor afterwards, too. A descriptor that has this number itself is only no longer close-on-exec.
pub(super) fn replace(number: RawFd, by: BorrowedFd<'_>) -> io::Result<()> {
    if by.as_raw_fd() == number {
        // dup2(2) would leave the flag.
        return set_flags(number, 0).map_err(of_call("fcntl(2)"));
    }
    // SAFETY: dup2(2) takes any two numbers and touches no memory.
    checked(unsafe { libc::dup2(by.as_raw_fd(), number) }).map(drop).map_err(of_call("dup2(2)"))
}

/// The flags of a descriptor, of which there is one, FD_CLOEXEC: fcntl(2) with F_GETFD. EBADF for a number that is not open.
pub(super) fn flags(number: RawFd) -> io::Result<c_int> {
    control(number, libc::F_GETFD, 0)
}

/// Sets the flags of a descriptor: fcntl(2) with F_SETFD. EBADF for a number that is not open.
pub(super) fn set_flags(number: RawFd, flags: c_int) -> io::Result<()> {
    control(number, libc::F_SETFD, flags).map(drop)
}

/// The access mode and the status flags of the opening that a descriptor is of, such as O_NONBLOCK: fcntl(2) with F_GETFL.
pub(super) fn status_flags(number: RawFd) -> io::Result<c_int> {
    control(number, libc::F_GETFL, 0)
}

/// Sets the status flags of the opening that a descriptor is of: fcntl(2) with F_SETFL.
pub(super) fn set_status_flags(number: RawFd, flags: c_int) -> io::Result<()> {
    control(number, libc::F_SETFL, flags).map(drop)
}

/// Which changes of a memory file are forbidden for good: fcntl(2) with F_GET_SEALS.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn seals(file: BorrowedFd<'_>) -> io::Result<c_int> {
    control(file.as_raw_fd(), libc::F_GET_SEALS, 0)
}

/// Forbids changes of a memory file for good: fcntl(2) with F_ADD_SEALS.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn add_seals(file: BorrowedFd<'_>, seals: c_int) -> io::Result<()> {
    control(file.as_raw_fd(), libc::F_ADD_SEALS, seals).map(drop)
}

/// Sets how many bytes a pipe takes before anything is read, and returns how many it is: fcntl(2) with F_SETPIPE_SZ.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn set_pipe_size(pipe: BorrowedFd<'_>, size: c_int) -> io::Result<c_int> {
    control(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, size)
}

/// fcntl(2), with a command of one of the functions above.
fn control(number: RawFd, command: c_int, argument: c_int) -> io::Result<c_int> {
    // SAFETY: these commands take an integer or nothing, and touch no memory. A number that is not open is EBADF.
    checked(unsafe { libc::fcntl(number, command, argument) })
}

/// Writes bytes at once, or some of them, and returns how many: write(2). EBADF for a number that is not open. Async-signal-safe.
#[inline]
pub(super) fn write(number: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: write(2) takes any number, and reads as many bytes from the pointer as the length says; both are the slice's.
    checked(unsafe { libc::write(number, bytes.as_ptr().cast(), bytes.len()) }).map(|written| written as usize)
}

/// What the system tells of the file that is open under this number: fstat(2). EBADF for a number that is not open.
/// Async-signal-safe.
#[inline]
pub(super) fn status(number: RawFd) -> io::Result<libc::stat> {
    let mut status = MaybeUninit::uninit();
    // SAFETY: fstat(2) takes any number, and writes one `stat` through the pointer, which is to a live local of that type.
    checked(unsafe { libc::fstat(number, status.as_mut_ptr()) })?;
    // SAFETY: fstat(2) has succeeded, so it has written the whole structure.
    Ok(unsafe { status.assume_init() })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::super::outcome::is;
    use super::*;

    const NOT_OPEN: RawFd = 1 << 20;

    #[test]
    fn a_pipe_is_closed_on_exec_and_leads_from_its_writer_to_its_reader() {
        let (reader, writer) = pipe().expect("a pipe");
        for end in [&reader, &writer] {
            assert_eq!(flags(end.as_raw_fd()).expect("open"), libc::FD_CLOEXEC);
        }
        File::from(writer).write_all(b"x").expect("written");
        let mut read = String::new();
        File::from(reader).read_to_string(&mut read).expect("read");
        assert_eq!(read, "x");
    }

    #[test]
    fn a_file_is_opened_with_these_flags_and_closed_on_exec() {
        let directory = open(c"/", libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NONBLOCK).expect("it is there");
        assert_eq!(flags(directory.as_raw_fd()).expect("open"), libc::FD_CLOEXEC);
        assert_ne!(status_flags(directory.as_raw_fd()).expect("open") & libc::O_NONBLOCK, 0);
        assert!(open(c"/nowhere/at/all", libc::O_RDONLY).is_err_and(|error| is(&error, libc::ENOENT)));
    }

    #[test]
    fn flags_belong_to_a_descriptor_and_status_flags_to_its_opening() {
        let (reader, _writer) = pipe().expect("a pipe");
        let copy = copy_to_lowest(reader.as_fd(), 0).expect("a copy");
        set_flags(copy.as_raw_fd(), 0).expect("set");
        set_status_flags(copy.as_raw_fd(), libc::O_NONBLOCK).expect("set");
        let of = |descriptor: &OwnedFd| {
            let status_flags = status_flags(descriptor.as_raw_fd()).expect("open");
            (flags(descriptor.as_raw_fd()).expect("open"), status_flags & libc::O_NONBLOCK)
        };
        assert_eq!((of(&reader), of(&copy)), ((libc::FD_CLOEXEC, libc::O_NONBLOCK), (0, libc::O_NONBLOCK)));
    }

    #[test]
    fn a_descriptor_takes_the_place_of_another() {
        let inode = |number: RawFd| status(number).expect("open").st_ino;
        let ((one, _), (other, _)) = (pipe().expect("a pipe"), pipe().expect("a pipe"));
        assert_ne!(inode(one.as_raw_fd()), inode(other.as_raw_fd()));
        replace(one.as_raw_fd(), other.as_fd()).expect("replaced");
        assert_eq!(inode(one.as_raw_fd()), inode(other.as_raw_fd()));
        assert_eq!(flags(one.as_raw_fd()).expect("open"), 0);
    }

    #[test]
    fn a_descriptor_in_its_own_place_stays_and_is_not_closed_on_exec() {
        let (one, writer) = pipe().expect("a pipe");
        replace(one.as_raw_fd(), one.as_fd()).expect("replaced");
        assert_eq!(flags(one.as_raw_fd()).expect("open"), 0);
        File::from(writer).write_all(b"x").expect("its reader is open");
    }

    #[test]
    fn a_number_that_is_not_open_is_an_error() {
        let errors = [flags(NOT_OPEN).map(drop), set_flags(NOT_OPEN, 0), status(NOT_OPEN).map(drop)];
        assert!(errors.iter().all(|error| error.as_ref().is_err_and(|error| is(error, libc::EBADF))));
    }
}
