//! A lock that one process at a time can have on a file: flock(2).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// A lock that is held until this is dropped. nix's lock panics on drop when unlocking fails; this one then relies on
/// close(2), which releases the lock too.
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
    loop {
        // SAFETY: flock(2) takes two numbers and touches no memory; the descriptor is open as long as the file is
        // borrowed.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
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
        let bare = nix::fcntl::open(&path, nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).expect("open");
        // SAFETY: dup2(2) puts one open descriptor in the place of another, which is this test's; the lock closes it.
        assert!(unsafe { libc::dup2(bare.as_raw_fd(), lock.0.as_raw_fd()) } >= 0);
        assert_eq!(flock(&lock.0, libc::LOCK_UN).expect_err("no lock").raw_os_error(), Some(libc::EBADF));
        drop(lock);
    }
}
