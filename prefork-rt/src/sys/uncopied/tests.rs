#![allow(unsafe_code)]

use super::*;

#[test]
fn entries_stay_as_they_are_when_a_vector_grows() {
    let memory = Uncopied::default();
    let mut names = memory.vec(0);
    let mut lengths = memory.vec(1);
    for n in 0..1000_usize {
        names.push(n.to_string());
        lengths.push(names[n].len());
    }
    assert!(names.iter().enumerate().all(|(n, name)| *name == n.to_string() && lengths[n] == name.len()));
    names[7] = "seven".to_owned();
    assert_eq!((names[7].as_str(), names.len()), ("seven", 1000));
    assert_eq!((names.pop().as_deref(), names.len()), (Some("999"), 999));
    assert_eq!((lengths.first(), lengths.last()), (Some(&1), Some(&3)));
}

#[test]
fn a_vector_is_filled_with_copies_and_extended() {
    let mut numbers = Uncopied::default().vec(2);
    assert_eq!(numbers.pop(), None);
    numbers.extend([5, 6]);
    numbers.grow_to(4, 9);
    numbers.grow_to(3, 1);
    assert_eq!(*numbers, [5, 6, 9, 9]);
}

#[test]
fn zeros_are_zeros_and_can_be_written_to() {
    let memory = Uncopied::default();
    let before = memory.boxed([7_u8; 100]);
    let mut zeros = memory.zeros(5000);
    assert_eq!(*zeros, [0; 5000]);
    zeros.fill(9);
    assert_eq!((memory.zeros(3).to_vec(), zeros[4999], before[99]), (vec![0; 3], 9, 7));
}

#[test]
fn each_entry_is_dropped_once() {
    let (memory, alive) = (Uncopied::default(), Rc::new(()));
    let mut several = memory.vec(1);
    several.extend([alive.clone(), alive.clone(), alive.clone()]);
    let one = memory.boxed(alive.clone());
    drop(several.pop());
    assert_eq!(Rc::strong_count(&alive), 4);
    drop((several, one));
    assert_eq!(Rc::strong_count(&alive), 1);
}

/// A box may have vectors of the same memory in it.
#[test]
fn memory_lasts_as_long_as_the_last_that_is_in_it() {
    let outer = {
        let memory = Uncopied::default();
        let mut inner = memory.vec(0);
        inner.extend(0..PIECE as u64);
        memory.boxed(inner)
    };
    assert!(outer.iter().copied().eq(0..PIECE as u64));
}

#[test]
fn what_is_large_and_what_is_aligned_gets_its_room() {
    #[repr(align(64))]
    struct Aligned(u8);

    let memory = Uncopied::default();
    let byte = memory.boxed(1_u8);
    let aligned = memory.boxed(Aligned(2));
    assert_eq!(ptr::from_ref(&*aligned).addr() % 64, 0);
    let large = memory.boxed([3_u8; 3 * PIECE]);
    let after = memory.boxed(4_u8);
    assert_eq!((*byte, aligned.0, large.iter().all(|&byte| byte == 3), *after), (1, 2, true, 4));
}

/// As where mmap(2) has failed.
#[test]
fn memory_of_the_allocator_stands_in() {
    let memory = Uncopied::default();
    let layout = Layout::from_size_align(PIECE, PAGE).unwrap();
    // SAFETY: the size is not zero.
    let start = NonNull::new(unsafe { alloc::alloc_zeroed(layout) }).unwrap();
    memory.pieces.borrow_mut().pieces.push(Piece { start, layout, is_mapped: false });
    let mut numbers = memory.vec(4);
    numbers.extend(0..PIECE);
    assert!(numbers.iter().copied().eq(0..PIECE));
    drop((memory, numbers));
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_process_does_not_have_it() {
    let number = Uncopied::default().boxed(7_u64);
    let address = ptr::from_ref(&*number).addr();
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let is_start = |line: &&str| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let bounds = range.and_then(|(start, end)| {
            Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
        });
        bounds.is_some_and(|bounds| bounds.contains(&address))
    };
    let flags = maps.lines().skip_while(|line| !is_start(line)).find(|line| line.starts_with("VmFlags:")).unwrap();
    assert!(flags.split(' ').any(|flag| flag == "dc"), "{flags}: not copied at a fork");
    assert_eq!(*number, 7);
}
