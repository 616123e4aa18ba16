//! Signals that a handler has noted, each with its last sender, until they are read.
//!
//! It must not know what a signal asks for.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Sent;

/// For each signal 0 if it has not arrived, else [`ARRIVED`] with the sender's process id, or [`BY_KERNEL`].
pub(super) struct Notes([AtomicU64; COUNT]);

/// No system has a signal with a higher number than 128.
const COUNT: usize = 129;
const ARRIVED: u64 = 1 << 32;
const BY_KERNEL: u64 = 1 << 33;

impl Notes {
    pub(super) const fn new() -> Notes {
        Notes([const { AtomicU64::new(0) }; COUNT])
    }

    /// Notes that the signal has arrived. Async-signal-safe.
    pub(super) fn note(&self, signal: c_int, sent: Sent) {
        let noted = match sent {
            Sent::By(pid) => ARRIVED | u64::from(pid as u32),
            // Which child it is for is not noted.
            Sent::ByKernel | Sent::ForChild(_) => BY_KERNEL,
        };
        if let Some(slot) = self.slot(signal) {
            slot.store(noted, Ordering::Relaxed);
        }
    }

    /// The sender of the signal, if it has arrived since the last call.
    pub(super) fn take(&self, signal: c_int) -> Option<Sent> {
        match self.slot(signal)?.swap(0, Ordering::Relaxed) {
            0 => None,
            BY_KERNEL => Some(Sent::ByKernel),
            noted => Some(Sent::By((noted - ARRIVED) as i32)),
        }
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|noted| noted.store(0, Ordering::Relaxed));
    }

    #[cfg(any(not(target_os = "linux"), prefork_portable))]
    pub(super) fn is_any(&self) -> bool {
        self.0.iter().any(|noted| noted.load(Ordering::Relaxed) != 0)
    }

    /// The numbers of all signals that could have been noted.
    pub(super) fn numbers() -> impl Iterator<Item = c_int> {
        1..COUNT as c_int
    }

    fn slot(&self, signal: c_int) -> Option<&AtomicU64> {
        self.0.get(usize::try_from(signal).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_taken_once_and_has_the_last_sender() {
        let notes = Notes::new();
        for sent in [Sent::ByKernel, Sent::By(0), Sent::By(i32::MAX)] {
            notes.note(1, Sent::By(7));
            notes.note(1, sent);
            assert_eq!(notes.take(1), Some(sent));
            assert_eq!(notes.take(1), None);
        }
        for signal in [64, -1, c_int::MAX] {
            notes.note(signal, Sent::ByKernel);
        }
        let taken = || Notes::numbers().filter(|&signal| notes.take(signal).is_some()).collect::<Vec<_>>();
        assert_eq!(taken(), [64]);
        notes.note(64, Sent::By(1));
        notes.clear();
        assert_eq!(taken(), [0; 0]);
    }
}
