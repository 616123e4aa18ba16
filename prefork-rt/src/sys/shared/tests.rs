use std::sync::atomic::Ordering::Relaxed;

use super::*;

fn last_error() -> Option<i32> {
    io::Error::last_os_error().raw_os_error()
}

#[test]
fn words_are_zero_and_hold_what_is_stored() {
    let memory = SharedMemory::anonymous(1000).unwrap();
    let words = memory.readable().words();
    assert_eq!(words.len(), 1000);
    assert!(words.iter().all(|word| word.load(Relaxed) == 0));
    memory.store(999, 7, Relaxed);
    assert_eq!((words[999].load(Relaxed), memory.load(999)), (7, 7));
}

#[test]
fn memory_is_narrowed_to_whole_pages() {
    let page = words_per_page().unwrap();
    for own in [0..page, page..2 * page, 2 * page..3 * page] {
        let memory = SharedMemory::anonymous(3 * page).unwrap();
        let words = memory.readable().words();
        memory.store(0, 1, Relaxed);
        let kept = memory.narrow(own).unwrap().0.words();
        assert_eq!((kept.len(), words[0].load(Relaxed)), (page, 1), "the rest can be read");
        kept[0].store(2, Relaxed);
        kept[page - 1].store(3, Relaxed);
    }
    for own in [1..page, page..page + 1] {
        assert!(
            SharedMemory::anonymous(3 * page).unwrap().narrow(own).is_err(),
            "half a page has no access of its own"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn pages_of_a_file_that_were_given_up_cannot_be_made_writable() {
    let page = words_per_page().unwrap();
    let file = crate::sys::memory_file("test", 3 * page * WORD).unwrap();
    let memory = SharedMemory::of_file(file, 3 * page).unwrap();
    memory.store(0, 5, Relaxed);
    let words = memory.readable().words();
    let kept = memory.narrow(page..2 * page).unwrap().0.words();
    kept[7].store(6, Relaxed);
    assert_eq!((words[0].load(Relaxed), words[page + 7].load(Relaxed)), (5, 6));
    let start = words.as_ptr().cast_mut().cast();
    // SAFETY: more access than before harms nothing, and it is refused.
    let refused = unsafe { libc::mprotect(start, page * WORD, libc::PROT_READ | libc::PROT_WRITE) };
    assert_eq!((refused, last_error()), (-1, Some(libc::EACCES)));
}

#[cfg(target_os = "linux")]
#[test]
fn the_page_that_stays_writable_is_no_way_to_the_others() {
    // SAFETY: sealing nothing changes nothing.
    if unsafe { libc::syscall(libc::SYS_mseal, 0, 0, 0) } != 0 {
        return eprintln!("skipped: this kernel has no mseal(2)");
    }
    let page = words_per_page().unwrap();
    let file = crate::sys::memory_file("test", 3 * page * WORD).unwrap();
    for memory in [SharedMemory::of_file(file, 3 * page), SharedMemory::anonymous(3 * page)] {
        let kept = memory.unwrap().narrow(page..2 * page).unwrap().0.words();
        let (start, bytes) = (kept.as_ptr().cast_mut().cast::<libc::c_void>(), page * WORD);
        // An old length of 0 asks for a second mapping.
        for old in [bytes, 0] {
            // SAFETY: a mapping that moves would leave `kept` behind; it is not used any more.
            let grown = unsafe { libc::mremap(start, old, 2 * bytes, libc::MREMAP_MAYMOVE) };
            assert_eq!((grown, last_error()), (libc::MAP_FAILED, Some(libc::EPERM)), "from {old}");
        }
        // SAFETY: other words would be there, any of which are as good.
        let exchanged = unsafe { libc::syscall(libc::SYS_remap_file_pages, start, bytes, 0, 0_usize, 0) };
        assert_eq!((exchanged, last_error()), (-1, Some(libc::EPERM)));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn all_mappings_of_a_file_have_its_words() {
    let page = words_per_page().unwrap();
    let file = crate::sys::memory_file("test", 2 * page * WORD).unwrap();
    let of_file = |words| SharedMemory::of_file(file.try_clone().unwrap(), words);
    let (one, other) = (of_file(2 * page).unwrap(), of_file(page).unwrap());
    one.store(6, 5, Relaxed);
    let words = other.readable().words();
    assert_eq!((words.len(), words[6].load(Relaxed)), (page, 5));
    for words in [2 * page + 1, 0, usize::MAX] {
        assert!(of_file(words).is_err(), "{words}");
    }
    let unsealed = crate::sys::scratch_file("test").unwrap();
    unsealed.set_len(1 << 20).unwrap();
    assert!(SharedMemory::of_file(unsealed, 1).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn pages_that_were_written_to_are_told_from_those_that_were_not() {
    let page = words_per_page().unwrap();
    let file = crate::sys::memory_file("test", 3 * page * WORD).unwrap();
    let memory = SharedMemory::of_file(file, 3 * page).unwrap();
    let written = || [0, 1, 2].map(|nth| memory.was_written(nth * page..(nth + 1) * page));
    assert_eq!(written(), [false; 3]);
    memory.store(page + 5, 1, Relaxed);
    assert_eq!(written(), [false, true, false]);
    assert!(SharedMemory::anonymous(page).unwrap().was_written(0..page), "it cannot be told");
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_process_has_the_writable_mapping_no_more() {
    let page = words_per_page().unwrap();
    let file = crate::sys::memory_file("test", page * WORD).unwrap();
    let memory = SharedMemory::of_file(file, page).unwrap();
    let start = memory.writable().as_ptr() as usize;
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mapping = smaps.split_once(&format!("{start:x}-")).expect("it is mapped").1;
    let flags = mapping.lines().find(|line| line.starts_with("VmFlags:")).expect("every mapping has some");
    assert!(flags.split(' ').any(|flag| flag == "dc"), "{flags}: not copied at a fork");
}

#[test]
fn no_words_and_too_many_are_errors() {
    for words in [0, usize::MAX / 2, usize::MAX / 8] {
        assert!(SharedMemory::anonymous(words).is_err());
    }
}
