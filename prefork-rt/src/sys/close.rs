//! Closing several descriptors with few calls. It must not know what they are for.
#![allow(unsafe_code)]

use std::os::fd::OwnedFd;

/// Closes these descriptors.
#[cfg(not(target_os = "linux"))]
pub(crate) fn close_all<const N: usize>(descriptors: [Option<OwnedFd>; N]) {
    drop(descriptors);
}

/// Closes these descriptors: those whose numbers follow one another with one call, close_range(2), where there is such a call
/// (Linux 5.9).
#[cfg(target_os = "linux")]
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn close_all<const N: usize>(descriptors: [Option<OwnedFd>; N]) {
    use std::os::fd::{AsRawFd, IntoRawFd};

    // A bit for each of the lowest numbers, which these mostly have.
    let mut low = 0_u64;
    for descriptor in descriptors.into_iter().flatten() {
        match descriptor.as_raw_fd() {
            number @ 0..64 => {
                // `close_range` closes it.
                let _ = descriptor.into_raw_fd();
                low |= 1 << number;
            }
            _ => drop(descriptor),
        }
    }
    while low != 0 {
        let first = low.trailing_zeros();
        let count = (low >> first).trailing_ones();
        // SAFETY: the `OwnedFd` of each of these numbers is gone, and left its descriptor open.
        unsafe { close_range(first, first + count - 1) };
        low &= !((u64::MAX >> (64 - count)) << first);
    }
}

/// # Safety
///
/// The descriptors of all numbers from the first to the last are open, and no code uses them any more.
#[cfg(target_os = "linux")]
#[inline]
unsafe fn close_range(first: u32, last: u32) {
    const NO_FLAGS: libc::c_uint = 0;
    // SAFETY: close_range(2) takes numbers and touches no memory. The caller has no more use for the descriptors.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, NO_FLAGS) } != 0 {
        for number in first..=last {
            // SAFETY: close(2) takes a number and touches no memory. The caller has no more use for the descriptor.
            unsafe { libc::close(number as libc::c_int) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sys::descriptor::copy_to_lowest;

    /// Copies of a pipe's writing end, the lowest numbers from this one on.
    fn copies<const N: usize>(writer: &impl AsFd, lowest: i32) -> [Option<OwnedFd>; N] {
        [(); N].map(|()| Some(copy_to_lowest(writer.as_fd(), lowest).expect("a copy")))
    }

    /// Whether a reader finds the end of the pipe, which has no writer left then, but perhaps in processes of other tests.
    fn ends(mut reader: io::PipeReader) -> bool {
        reader.read(&mut [0]).expect("read") == 0
    }

    #[test]
    fn all_are_closed_whether_their_numbers_are_low_or_high_and_follow_one_another_or_not() {
        let (reader, writer) = io::pipe().expect("a pipe");
        close_all::<3>(copies(&writer, 40));
        let mut low_and_high: [_; 3] = copies(&writer, 62);
        let [_, gap, _] = &mut low_and_high;
        drop(gap.take());
        close_all(low_and_high);
        close_all([None, Some(writer.into())]);
        assert!(ends(reader));
    }

    #[test]
    fn no_other_descriptor_is_closed() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut closed: [_; 5] = copies(&writer, 50);
        let kept = closed[2].take();
        close_all(closed);
        drop(writer);
        let kept = Stdio::from(kept.expect("it was there"));
        assert!(Command::new("echo").stdout(kept).status().expect("started").success());
        let mut line = String::new();
        io::BufReader::new(reader).read_to_string(&mut line).expect("read");
        assert_eq!(line, "\n");
    }
}
