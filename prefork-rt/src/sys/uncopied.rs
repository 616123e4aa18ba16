//! Memory that a fork does not copy, because the forked process does not have it.
//!
//! Other memory costs both processes something at each fork: the kernel copies an entry for each page, and the first write to a
//! page afterwards copies the page. What only this process needs is better kept here.
#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::slice;

use super::mapping::{READ_WRITE, map};

/// What is mapped at once for many small things, in bytes. The kernel provides the pages that are used.
const PIECE: usize = 128 << 10;
/// Where a page begins on every system, also where pages are larger.
const PAGE: usize = 4096;

/// The memory, from which vectors and boxes take their room. It is given back when the last of them is gone.
///
/// A process forked from this one must neither use nor drop any of these: there is nothing at their place, or something else
/// by then. It forgets them. Where the system cannot keep memory from forked processes, or refuses to map any, this is memory
/// as any other, and copied.
#[derive(Clone, Default)]
pub(crate) struct Uncopied {
    pieces: Rc<RefCell<Pieces>>,
}

#[derive(Default)]
struct Pieces {
    /// The last one has room.
    pieces: Vec<Piece>,
    /// How many bytes of the last piece are taken.
    taken: usize,
}

/// Some pages, which were all zeros at first.
struct Piece {
    start: NonNull<u8>,
    layout: Layout,
    /// It is a mapping; else it is of the allocator.
    is_mapped: bool,
}

impl Uncopied {
    pub(crate) fn boxed<T>(&self, value: T) -> UncopiedBox<T> {
        let mut one = self.vec(1);
        one.push(value);
        UncopiedBox { one }
    }

    /// A vector with room for this many entries. When it outgrows the room, it takes another one.
    pub(crate) fn vec<T>(&self, capacity: usize) -> UncopiedVec<T> {
        UncopiedVec { start: self.take(capacity), length: 0, capacity, memory: self.clone() }
    }

    /// `length` bytes of zeros. They take memory when they are written to.
    pub(crate) fn zeros(&self, length: usize) -> UncopiedVec<u8> {
        let mut bytes = self.vec(length);
        // They are there: `take` returns zeros.
        bytes.length = length;
        bytes
    }

    /// Takes room for this many entries, which holds zeros and is used once. Like other allocations, it ends the program
    /// where there is no memory.
    fn take<T>(&self, entries: usize) -> NonNull<T> {
        let layout = Layout::array::<T>(entries).expect("the size overflows");
        self.pieces.borrow_mut().take(layout).unwrap_or_else(|| alloc::handle_alloc_error(layout)).cast()
    }
}

impl Pieces {
    fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let start = self.taken.next_multiple_of(layout.align());
        let end = start.checked_add(layout.size())?;
        match self.pieces.last() {
            Some(piece) if end <= piece.layout.size() => {
                self.taken = end;
                // SAFETY: `start` is at most `end`, which is at most the size of the piece.
                Some(unsafe { piece.start.add(start) })
            }
            Some(_) | None => {
                let piece = Piece::new(layout.size().max(PIECE))?;
                let start = piece.start;
                self.pieces.push(piece);
                self.taken = layout.size();
                Some(start)
            }
        }
    }
}

impl Piece {
    /// It begins with a page, which is aligned for any type here: see `UncopiedVec::FITS`.
    fn new(size: usize) -> Option<Piece> {
        let layout = Layout::from_size_align(size, PAGE).ok()?;
        let mapped = map_uncopied(size);
        let is_mapped = mapped.is_some();
        // SAFETY: the size is `PIECE` at least, and so not zero.
        let start = mapped.or_else(|| NonNull::new(unsafe { alloc::alloc_zeroed(layout) }))?;
        Some(Piece { start, layout, is_mapped })
    }
}

impl Drop for Piece {
    /// Every vector that has room in the piece has its `Pieces` too, in an `Rc`, so none is left. A forked process, which may
    /// not have the piece, does not come here, as `Uncopied` demands.
    fn drop(&mut self) {
        let (start, size) = (self.start.as_ptr(), self.layout.size());
        if self.is_mapped {
            // SAFETY: `map_uncopied` has mapped these bytes, and no code uses them any more.
            unsafe { libc::munmap(start.cast(), size) };
        } else {
            // SAFETY: the allocator has returned this for this layout, and no code uses it any more.
            unsafe { alloc::dealloc(start, self.layout) };
        }
    }
}

/// mmap(2), and madvise(2) with MADV_DONTFORK.
fn map_uncopied(length: usize) -> Option<NonNull<u8>> {
    let start = map(ptr::null_mut(), length, READ_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON, -1, 0).ok()?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: madvise(2) changes nothing in this process. It fails where the kernel lacks it; then a fork copies the memory.
    unsafe {
        libc::madvise(start.as_ptr().cast(), length, libc::MADV_DONTFORK)
    };
    Some(start)
}

/// A vector in [`Uncopied`] memory.
pub(crate) struct UncopiedVec<T> {
    /// The room for `capacity` entries, of which the first `length` are there.
    start: NonNull<T>,
    length: usize,
    capacity: usize,
    memory: Uncopied,
}

impl<T> UncopiedVec<T> {
    /// Each entry takes room, and a page is aligned for it.
    const FITS: () = assert!(size_of::<T>() > 0 && align_of::<T>() <= PAGE);

    pub(crate) fn push(&mut self, entry: T) {
        const { Self::FITS };
        if self.length == self.capacity {
            self.grow();
        }
        let place = self.start.as_ptr().wrapping_add(self.length);
        // SAFETY: the room has this place, as `length` is less than `capacity` now, and no entry is there.
        unsafe { place.write(entry) };
        self.length += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.length = self.length.checked_sub(1)?;
        let place = self.start.as_ptr().wrapping_add(self.length);
        // SAFETY: there was an entry at this place. It is taken out, as the vector ends before it now.
        Some(unsafe { place.read() })
    }

    pub(crate) fn clear(&mut self) {
        while self.pop().is_some() {}
    }

    /// Adds copies of this entry until there are `length` entries.
    pub(crate) fn grow_to(&mut self, length: usize, entry: T)
    where
        T: Copy,
    {
        while self.length < length {
            self.push(entry);
        }
    }

    /// Moves to a room of twice the size. The room before stays taken: all that a vector has outgrown is less than what it has.
    #[cold]
    fn grow(&mut self) {
        let capacity = (self.capacity * 2).max(4);
        let start = self.memory.take(capacity);
        // SAFETY: the first `length` entries are there, and the new room has as many places, which are no part of the old room.
        // The old places are not used again, so each entry is in one place.
        unsafe { ptr::copy_nonoverlapping(self.start.as_ptr(), start.as_ptr(), self.length) };
        (self.start, self.capacity) = (start, capacity);
    }
}

impl<T> Deref for UncopiedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the first `length` entries are there, and no code changes them while `self` is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T> DerefMut for UncopiedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the first `length` entries are there, and no other code has them while `self` is borrowed for writing.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl<T> Extend<T> for UncopiedVec<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        for entry in entries {
            self.push(entry);
        }
    }
}

impl<T> Drop for UncopiedVec<T> {
    fn drop(&mut self) {
        // SAFETY: the entries are there, and no code uses them afterwards. The memory is still mapped, as `memory` is dropped
        // after this.
        unsafe { ptr::drop_in_place(&raw mut **self) };
    }
}

/// A value in [`Uncopied`] memory.
pub(crate) struct UncopiedBox<T> {
    one: UncopiedVec<T>,
}

impl<T> Deref for UncopiedBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.one[0]
    }
}

impl<T> DerefMut for UncopiedBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.one[0]
    }
}

#[cfg(test)]
mod tests;
