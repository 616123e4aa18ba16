use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::*;

fn sealed(bytes: &[u8]) -> Sealed {
    draft(bytes).seal().unwrap()
}

fn draft(bytes: &[u8]) -> Draft {
    let mut draft = Draft::new().unwrap();
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = draft.write(rest).unwrap();
        rest = &rest[written..];
    }
    draft
}

#[test]
fn bytes_are_those_that_were_written() {
    let large: Vec<u8> = (0..3_000_001_u32).map(|number| (number % 251) as u8).collect();
    for bytes in [&b""[..], b"x", &large] {
        assert_eq!(sealed(bytes).bytes(), bytes);
    }
}

/// How a forked process ends that runs this.
fn in_a_child(run: impl FnOnce()) -> WaitStatus {
    // SAFETY: the child has one thread, and other threads of this program may have held locks at the fork. It takes none but
    // malloc's, which glibc and musl leave usable in a forked process, and ends by _exit(2).
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            run();
            // SAFETY: _exit(2) does not return and touches no memory.
            unsafe { libc::_exit(7) }
        }
        ForkResult::Parent { child } => waitpid(child, None).unwrap(),
    }
}

#[test]
fn a_write_of_a_forked_process_ends_it_and_changes_nothing() {
    let sealed = sealed(b"what all share");
    let first = sealed.start.as_ptr();
    let end = in_a_child(|| {
        // SAFETY: setrlimit(2) reads the limit. It writes no core file of the end that follows.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 }) };
        // SAFETY: the page is mapped for reading only, so the store changes nothing: the processor stops it.
        unsafe { first.write_volatile(b'x') };
    });
    assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGSEGV | Signal::SIGBUS, _)), "{end:?}");
    assert_eq!(sealed.bytes(), b"what all share");
}

#[cfg(all(target_os = "linux", not(prefork_portable)))]
#[test]
fn no_process_can_make_them_writable() {
    let sealed = sealed(&[1; 8192]);
    let start = sealed.start.as_ptr().cast::<libc::c_void>();
    // SAFETY: more access than before harms nothing, and it is refused.
    let access = unsafe { libc::mprotect(start, 8192, libc::PROT_READ | libc::PROT_WRITE) };
    assert_eq!((access, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EACCES)));
    // SAFETY: MADV_REMOVE would make the bytes zero, of which no reference is held here; it is refused.
    let removed = unsafe { libc::madvise(start, 8192, libc::MADV_REMOVE) };
    assert_eq!(removed, -1);
    assert_eq!(sealed.bytes(), [1; 8192]);
}

/// As where no /proc is mounted. The mapping is a private one then, which also mprotect(2) can make writable.
#[cfg(all(target_os = "linux", not(prefork_portable)))]
#[test]
fn where_the_file_cannot_be_opened_again_a_process_that_writes_has_a_copy_of_its_own() {
    let large: Vec<u8> = (0..3_000_001_u32).map(|number| (number % 251) as u8).collect();
    let sealed = draft(&large).seal_with(|_| Err(io::ErrorKind::NotFound.into())).unwrap();
    assert_eq!(sealed.bytes(), large);
    let first = sealed.start.as_ptr();
    let end = in_a_child(|| {
        // SAFETY: more access than before harms nothing.
        let access = unsafe { libc::mprotect(first.cast(), 4096, libc::PROT_READ | libc::PROT_WRITE) };
        if access == 0 {
            // SAFETY: the page is mapped and can be written to, and this process has no reference to its bytes.
            unsafe { first.write_volatile(b'x') };
        }
        // SAFETY: the page is mapped and can be read.
        if unsafe { first.read_volatile() } != b'x' {
            // SAFETY: _exit(2) does not return and touches no memory.
            unsafe { libc::_exit(1) }
        }
    });
    assert!(matches!(end, WaitStatus::Exited(_, 7)), "{end:?}");
    assert_eq!(sealed.bytes(), large);
}

#[cfg(all(target_os = "linux", not(prefork_portable)))]
#[test]
fn they_begin_where_a_huge_page_may_begin() {
    let Ok(size) = huge_page_size() else { return };
    let sealed = sealed(&vec![1; 2 * size]);
    assert_eq!(sealed.start.addr().get() % size, 0);
}

#[cfg(all(target_os = "linux", not(prefork_portable)))]
#[test]
fn no_descriptor_stays_open_and_no_mapping_either() {
    use std::fs;
    use std::time::{Duration, Instant};

    let draft = Draft::new().unwrap();
    drop(draft);
    let sealed = sealed(&[1; 4096]);
    let line = format!("{:x}-", sealed.start.as_ptr() as usize);
    let is_mapped = || fs::read_to_string("/proc/self/maps").unwrap().lines().any(|found| found.starts_with(&line));
    assert!(is_mapped());
    // Other tests of this program may have a draft of their own just now, in another thread: wait until none has.
    let opened = || {
        let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let mut names = files.filter_map(|file| fs::read_link(file.path()).ok());
        names.any(|name| name.to_string_lossy().contains("prefork-shared-bytes"))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while opened() {
        assert!(Instant::now() < deadline, "a descriptor stays open");
        std::thread::yield_now();
    }
    let name = fs::read_to_string("/proc/self/maps").unwrap();
    let name = name.lines().find(|found| found.starts_with(&line)).unwrap();
    assert!(name.contains(" r--s ") && name.contains("prefork-shared-bytes"), "{name}");
    // No other file has this number while this one is mapped, and it is not mapped any more.
    let inode = format!(" {} ", name.split_whitespace().nth(4).unwrap());
    let maps = || fs::read_to_string("/proc/self/maps").unwrap();
    let has_it = |maps: &str| maps.lines().any(|line| line.contains("prefork-shared-bytes") && line.contains(&inode));
    assert!(has_it(&maps()));
    drop(sealed);
    assert!(!has_it(&maps()));
}

#[cfg(all(target_os = "linux", not(prefork_portable)))]
#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    let end = in_a_child(|| {
        let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
        // SAFETY: setrlimit(2) reads the limit, which holds for this process alone.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) };
        let Ok(mut draft) = Draft::new() else { return };
        let outcomes = [draft.write(&[1; 4096]).ok(), draft.write(&[1]).ok()];
        if outcomes != [Some(4096), None] || draft.seal().is_ok_and(|sealed| sealed.bytes() != [1; 4096]) {
            // SAFETY: _exit(2) does not return and touches no memory.
            unsafe { libc::_exit(1) }
        }
    });
    assert!(matches!(end, WaitStatus::Exited(_, 7)), "{end:?}");
}
