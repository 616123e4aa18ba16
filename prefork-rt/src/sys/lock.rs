//! A lock that one process at a time can have on a file: flock(2).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::outcome::{checked, uninterrupted};

/// A lock that is held until this is dropped. Where unlocking fails then, close(2) releases the lock.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Takes the lock, without waiting: [`io::ErrorKind::WouldBlock`] where another process has it. The file comes back
    /// with the error.
    pub(crate) fn try_lock(file: File) -> Result<FileLock, (File, io::Error)> {
        match flock(&file, libc::LOCK_EX | libc::LOCK_NB) {
            Ok(()) => Ok(FileLock(file)),
            Err(error) => Err((file, error)),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Not left to close(2): another thread may be starting a program, which has the file open for a moment.
        let _ = flock(&self.0, libc::LOCK_UN);
    }
}

fn flock(file: &File, operation: libc::c_int) -> io::Result<()> {
    // SAFETY: flock(2) takes two numbers and touches no memory; the descriptor is open as long as the file is borrowed.
    uninterrupted(|| checked(unsafe { libc::flock(file.as_raw_fd(), operation) })).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn directory() -> File {
        File::open(env!("CARGO_MANIFEST_DIR")).expect("the directory of this crate")
    }

    #[test]
    fn a_file_is_locked_until_the_lock_is_dropped() {
        let file = directory();
        let locked = FileLock::try_lock(file).expect("this test alone locks it");
        let (again, error) = FileLock::try_lock(directory()).expect_err("it is held");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(locked);
        drop(FileLock::try_lock(again).expect("it was released"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_unlock_that_fails_is_no_panic() {
        let path = std::env::temp_dir();
        let lock = FileLock::try_lock(File::open(&path).expect("a directory")).expect("no other process locks it");
        // Such a descriptor cannot be locked or unlocked: EBADF. It takes the place of the one that is.
        let bare = crate::sys::open_for_its_place(&path).expect("open");
        crate::sys::descriptor::replace(lock.0.as_raw_fd(), bare.as_fd()).expect("replaced");
        assert_eq!(flock(&lock.0, libc::LOCK_UN).expect_err("no lock").raw_os_error(), Some(libc::EBADF));
        drop(lock);
    }
}
