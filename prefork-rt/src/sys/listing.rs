//! The names in a directory, for /proc: std's `ReadDir` panics where close(2) fails.
#![allow(unsafe_code)]

use std::ffi::OsString;

/// The names in a directory, without `.` and `..`, if it can be opened: open(2), getdents64(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn names_in(directory: &str) -> Option<Vec<OsString>> {
    use std::fs::OpenOptions;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    use super::outcome::checked;

    /// Room for seven entries of any length, and for 80 descriptors. It is small, and lies on the stack: a large one on the
    /// heap is a page fault for each of its pages.
    #[repr(align(8))]
    struct Buffer([u8; 2048]);

    let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(directory).ok()?;
    let mut buffer = Buffer([0; 2048]);
    let mut names = Vec::new();
    loop {
        let number = directory.as_raw_fd();
        // SAFETY: getdents64(2) writes at most as many bytes through the pointer as the last argument says; both are the
        // array's.
        let read = unsafe { libc::syscall(libc::SYS_getdents64, number, buffer.0.as_mut_ptr(), buffer.0.len()) };
        // What was read before an error is as good as a list that has changed since.
        match checked(read) {
            Ok(length) if length > 0 => add_names(&buffer.0[..length as usize], &mut names),
            Ok(_) | Err(_) => return Some(names),
        }
    }
}

/// Adds the names of these entries. getdents64(2) says what is in one: eight bytes each of inode and position, two of its length,
/// one of its type, and its name, which ends with a zero.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn add_names(mut entries: &[u8], names: &mut Vec<OsString>) {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;

    const LENGTH: usize = 16;
    const NAME: usize = 19;
    while let Some(&[one, other]) = entries.get(LENGTH..LENGTH + 2) {
        let Some((entry, rest)) = entries.split_at_checked(u16::from_ne_bytes([one, other]).into()) else { return };
        let Some(Ok(name)) = entry.get(NAME..).map(CStr::from_bytes_until_nul) else { return };
        if ![c".", c".."].contains(&name) {
            names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        }
        entries = rest;
    }
}

/// The names in a directory, if it can be read.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn names_in(directory: &str) -> Option<Vec<OsString>> {
    let entries = std::fs::read_dir(directory).ok()?;
    Some(entries.flatten().map(|entry| entry.file_name()).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    #[test]
    fn all_names_of_a_directory_are_told_however_many_there_are() {
        let directory = std::env::temp_dir().join(format!("prefork-names-{}", std::process::id()));
        fs::create_dir(&directory).expect("a directory");
        // More than one read takes.
        let mut names: BTreeSet<OsString> =
            (0..500).map(|number| format!("{number}{}", "x".repeat(100)).into()).collect();
        names.extend([".hidden", "...", "a name"].map(OsString::from));
        for name in &names {
            fs::write(directory.join(name), "").expect("a file");
        }
        let told = names_in(directory.to_str().expect("a text"));
        fs::remove_dir_all(&directory).expect("removed");
        let told = told.expect("it can be read");
        assert_eq!((told.len(), told.into_iter().collect::<BTreeSet<_>>()), (names.len(), names));
    }

    #[test]
    fn what_is_no_directory_has_no_names() {
        assert_eq!(names_in("/dev/null"), None);
        assert_eq!(names_in("/nowhere/at/all"), None);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn entries_that_are_cut_off_are_no_endless_loop() {
        let mut entries = [0_u8; 48];
        for (at, name) in [(0, b'a'), (24, b'b')] {
            entries[at + 16] = 24;
            entries[at + 19] = name;
        }
        for (length, expected) in [(0, 0), (17, 0), (23, 0), (24, 1), (47, 1), (48, 2)] {
            let mut names = Vec::new();
            add_names(&entries[..length], &mut names);
            assert_eq!(names, ["a", "b"][..expected], "{length}");
        }
        entries[16] = 0;
        add_names(&entries, &mut Vec::new());
    }
}
