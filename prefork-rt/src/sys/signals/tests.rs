#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::lists::NO_LISTS;
use super::*;

const NOT_AT_ALL: Option<Duration> = Some(Duration::ZERO);
const LONG: Option<Duration> = Some(Duration::from_secs(3600));
const NEITHER: Ready = Ready { signals: false, other: false };
const SIGNALS: Ready = Ready { signals: true, other: false };
const OTHER: Ready = Ready { signals: false, other: true };

static TEST_LISTS: SignalLists = SignalLists {
    stops: &[Signal::SIGTERM],
    queued: &[Signal::SIGHUP, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTTIN],
    left_alone: &[Signal::SIGCHLD, Signal::SIGSEGV, Signal::SIGKILL, Signal::SIGSTOP],
    ..NO_LISTS
};

#[test]
fn an_ignored_signal_is_told_from_others() {
    // Rust's runtime ignores the one and handles the other.
    assert!(is_ignored(Signal::SIGPIPE).expect("asked"));
    assert!(!is_ignored(Signal::SIGSEGV).expect("asked"));
}

/// The signals go to this thread only. The whole process has one queue, so there is one test of it.
#[test]
fn one_wait_tells_of_signals_and_of_the_other_descriptor() {
    // SAFETY: raise(3) takes any number and touches no memory.
    let raise_number = |number| assert_eq!(unsafe { libc::raise(number) }, 0);
    let raise = |signal: Signal| raise_number(signal as c_int);
    let signal = |received: Option<Received>| received.map(|received| received.signal);
    let (reader, writer) = crate::sys::descriptor::pipe().expect("a pipe");
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    drop(catch_early(&TEST_LISTS));
    let (mask, queued) = Mask::block().expect("blocked");
    let mut queue = SignalQueue::open(&queued, Some(reader.as_fd())).expect("open");

    assert_eq!(queue.ready(Some(reader.as_fd()), NOT_AT_ALL), NEITHER);
    assert_eq!(queue.ready(None, NOT_AT_ALL), NEITHER);
    let before = Instant::now();
    assert_eq!(queue.ready(Some(reader.as_fd()), Some(Duration::from_millis(20))), NEITHER);
    assert!(before.elapsed() >= Duration::from_millis(20));

    writer.write_all(b"x").expect("written");
    for timeout in [NOT_AT_ALL, LONG, None] {
        assert_eq!(queue.ready(Some(reader.as_fd()), timeout), OTHER);
    }
    assert_eq!(queue.ready(None, NOT_AT_ALL), NEITHER);

    // A signal that comes again and again hides no stop.
    raise(Signal::SIGHUP);
    raise(Signal::SIGTERM);
    let stop = queue.read_stop().expect("a stop");
    assert_eq!(stop, Received { signal: Signal::SIGTERM as c_int, sent: Sent::By(std::process::id() as i32) });
    assert_eq!(queue.read().map(signal), [Some(Signal::SIGHUP as c_int), None]);
    assert!(queue.read_stop().is_none());

    // A descriptor that is always ready hides no signal. Where as many are read as can be at once, there may be more.
    [Signal::SIGUSR1, Signal::SIGTTOU, Signal::SIGUSR2].into_iter().for_each(raise);
    let mut read = Vec::new();
    while queue.ready(Some(reader.as_fd()), None).signals {
        read.extend(queue.read().into_iter().flatten());
    }
    assert!(read.iter().all(|received| received.sent == Sent::By(std::process::id() as i32)));
    let signals = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTTOU].map(|signal| signal as c_int);
    assert_eq!(read.iter().map(|received| received.signal).collect::<Vec<_>>(), signals);
    assert_eq!(queue.ready(Some(reader.as_fd()), LONG), OTHER);

    reader.read_exact(&mut [0]).expect("read");
    raise(Signal::SIGTTIN);
    for timeout in [NOT_AT_ALL, LONG, None] {
        assert_eq!(queue.ready(Some(reader.as_fd()), timeout), SIGNALS);
        assert_eq!(queue.ready(None, timeout), SIGNALS);
    }
    assert_eq!(queue.read().map(signal), [Some(Signal::SIGTTIN as c_int), None]);
    assert_eq!(queue.read(), [None; 2]);

    // Signals that have only a number are read too.
    #[cfg(target_os = "linux")]
    for signal in [libc::SIGRTMIN(), libc::SIGRTMAX(), libc::SIGSTKFLT] {
        raise_number(signal);
        assert_eq!(queue.ready(None, LONG), SIGNALS);
        assert_eq!(queue.read(), [Some(Received { signal, sent: Sent::By(std::process::id() as i32) }), None]);
    }

    // The end of the other descriptor counts as ready.
    drop(writer);
    assert_eq!(queue.ready(Some(reader.as_fd()), None), OTHER);
    drop(queue.into_descriptor().expect("restored"));
    mask.restore().expect("restored");
}
