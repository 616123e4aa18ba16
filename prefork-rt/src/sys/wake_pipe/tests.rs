use std::io::Write;

use super::*;
use crate::sys::wait_readable;

/// What `become_writer` stores, without the static, and with the reading end.
fn pipe_and_writer() -> (WakePipe, Writer) {
    let wake_pipe = WakePipe::new().unwrap();
    let writer = Writer { descriptor: wake_pipe.writer.as_raw_fd(), pipe: wake_pipe.pipe };
    (wake_pipe, writer)
}

fn is_readable(wake_pipe: &WakePipe) -> bool {
    wait_readable(wake_pipe.as_fd(), Some(Duration::ZERO))
}

#[test]
fn numbers_are_read_once_and_in_order() {
    let (mut wake_pipe, writer) = pipe_and_writer();
    assert!(!is_readable(&wake_pipe));
    assert_eq!(wake_pipe.read(), Wakes::default(), "and it does not wait");
    for number in [3, 0, 4095, 3] {
        writer.write(number);
    }
    assert!(is_readable(&wake_pipe));
    assert_eq!(wake_pipe.read(), Wakes { numbers: vec![3, 0, 4095, 3], overflow: false });
    assert!(!is_readable(&wake_pipe));
}

#[test]
fn a_full_pipe_drops_numbers_and_says_so() {
    let (mut wake_pipe, writer) = pipe_and_writer();
    for number in 0..100_000 {
        writer.write(number);
    }
    let wakes = wake_pipe.read();
    assert!(wakes.overflow);
    assert!(wakes.numbers.len() < 100_000 && wakes.numbers.iter().zip(0..).all(|(&number, n)| number == n));
    assert!(!is_readable(&wake_pipe), "it is emptied");
    writer.write(7);
    assert_eq!(wake_pipe.read(), Wakes { numbers: vec![7], overflow: false });
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn a_full_pipe_of_the_smallest_size_says_so_too() {
    let (mut wake_pipe, writer) = pipe_and_writer();
    let bytes = descriptor::set_pipe_size(wake_pipe.writer.as_fd(), 1).unwrap();
    let room = u32::try_from(bytes).unwrap() / 4;
    (0..=room).for_each(|number| writer.write(number));
    assert_eq!(wake_pipe.read(), Wakes { numbers: (0..room).collect(), overflow: true });
}

#[test]
fn a_pipe_that_is_written_to_too_often_rests_for_a_while() {
    let (mut wake_pipe, writer) = pipe_and_writer();
    let start = Instant::now();
    let mut readings = 0;
    let rest = loop {
        writer.write(1);
        assert_eq!(wake_pipe.read().numbers, [1]);
        readings += 1;
        if let Some(rest) = wake_pipe.rest() {
            break rest;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "a loaded machine may need several intervals");
    };
    assert!(readings >= MOST_READINGS && rest <= Instant::now() + INTERVAL);
    while Instant::now() < rest {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(wake_pipe.rest(), None);
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn a_flood_of_packets_hides_no_number() {
    let (mut wake_pipe, writer) = pipe_and_writer();
    let flags = libc::O_NONBLOCK | libc::O_DIRECT;
    descriptor::set_status_flags(wake_pipe.writer.as_raw_fd(), flags).unwrap();
    // A packet takes a page of the pipe, and is read alone.
    for round in 0.. {
        (0..20).for_each(|_| writer.write(1));
        writer.write(7);
        if wake_pipe.read().overflow {
            break;
        }
        assert!(round < 10_000, "a loaded machine may need several intervals");
    }
}

#[test]
fn garbage_hides_no_number() {
    let (mut wake_pipe, writer) = pipe_and_writer();
    File::from(wake_pipe.writer.try_clone().unwrap()).write_all(&[9]).unwrap();
    writer.write(3);
    assert!(wake_pipe.read().overflow);
}

#[test]
fn a_closed_descriptor_is_not_written_to() {
    let (wake_pipe, mut writer) = pipe_and_writer();
    let copy = wake_pipe.writer.try_clone().unwrap();
    writer.descriptor = copy.as_raw_fd();
    drop(copy);
    writer.write(1);
    assert!(!is_readable(&wake_pipe));
}

#[test]
fn a_descriptor_that_was_used_again_is_not_written_to() {
    let (_wake_pipe, mut writer) = pipe_and_writer();
    let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    writer.descriptor = theirs.as_raw_fd();
    writer.write(1);
    // Another pipe is another file, too.
    let other = WakePipe::new().unwrap();
    writer.descriptor = other.writer.as_raw_fd();
    writer.write(1);
    assert!(!is_readable(&other));
    theirs.write_all(b"mine").unwrap();
    drop(theirs);
    let mut read = String::new();
    ours.read_to_string(&mut read).unwrap();
    assert_eq!(read, "mine");
}

#[test]
fn both_ends_close_on_exec_and_do_not_wait() {
    let wake_pipe = WakePipe::new().unwrap();
    for end in [wake_pipe.as_fd(), wake_pipe.writer.as_fd()] {
        assert_eq!(descriptor::flags(end.as_raw_fd()).unwrap(), libc::FD_CLOEXEC);
        assert_ne!(descriptor::status_flags(end.as_raw_fd()).unwrap() & libc::O_NONBLOCK, 0);
    }
}
