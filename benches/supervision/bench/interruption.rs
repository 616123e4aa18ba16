//! Ctrl-C and the signals that ask a process to end: what runs is ended and files are removed as on a panic.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Notes the first of these signals. The second one ends the process at once.
pub fn note_signals() {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESETHAND, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only sets an atomic.
        unsafe { sigaction(signal, &action) }.expect("sigaction(2)");
    }
}

extern "C" fn note(_: i32) {
    INTERRUPTED.store(true, SeqCst);
}

/// Does not return after such a signal. Called wherever something is waited for.
pub fn check() {
    if INTERRUPTED.load(SeqCst) {
        eprintln!("interrupted");
        resume_unwind(Box::new("interrupted"));
    }
}
