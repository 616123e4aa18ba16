//! Files that are memory only: memfd_create(2). It must not know what they hold.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

#[cfg(all(any(target_os = "linux", target_os = "android"), not(prefork_portable)))]
pub(super) use linux::create_private;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use linux::{memory_file, scratch_file};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::ffi::{CStr, CString, c_int, c_uint};
    use std::fs::Permissions;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::sys::descriptor;
    use crate::sys::stderr::without_file_size_signal;

    /// Makes a file whose size no process can change, and that no other user can open: memfd_create(2), fchmod(2),
    /// ftruncate(2), fcntl(2).
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] where the system has no such files; EFBIG where the size of files is limited
    /// (RLIMIT_FSIZE).
    pub(crate) fn memory_file(name: &str, size: usize) -> io::Result<File> {
        let file = create_private(&CString::new(name)?, libc::MFD_ALLOW_SEALING)?;
        without_file_size_signal(|| file.set_len(size as u64))?;
        // A process that has the file mapped would get SIGBUS if it shrank.
        descriptor::add_seals(file.as_fd(), libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL)?;
        Ok(file)
    }

    /// Makes an empty file that can grow: memfd_create(2).
    pub(crate) fn scratch_file(name: &str) -> io::Result<File> {
        create(&CString::new(name)?, 0)
    }

    /// Makes an empty file that no other user can open: memfd_create(2) with these flags, fchmod(2).
    pub(crate) fn create_private(name: &CStr, flags: c_uint) -> io::Result<File> {
        let file = create(name, flags)?;
        // memfd_create(2) gives all rights to all users.
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    }

    /// By the number of the call, as not every C library has a function for it. Programs that this process executes do not
    /// inherit the file.
    fn create(name: &CStr, flags: c_uint) -> io::Result<File> {
        // SAFETY: memfd_create(2) reads a text that ends with a zero, and takes a number.
        let number = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags | libc::MFD_CLOEXEC) };
        // SAFETY: memfd_create(2) returns a new descriptor, which nothing else owns, or -1.
        unsafe { descriptor::made(number as c_int) }.map(File::from)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_size_of_a_memory_file_is_final_and_its_user_alone_can_open_it() {
            let file = memory_file("test", 8192).unwrap();
            let found = file.metadata().unwrap();
            assert_eq!((found.len(), found.permissions().mode() & 0o777), (8192, 0o600));
            assert!(file.set_len(4096).is_err() && file.set_len(9000).is_err());
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn memory_file(_: &str, _: usize) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn scratch_file(_: &str) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}
