//! Signals: caught from the start, blocked, queued and read; given back to a worker as they were.
//!
//! It must not know what a signal asks for, nor which signals matter: the caller of [`catch_early`] brings the lists.

mod block; // blocking what is queued, and restoring the mask from before
mod change; // what one signal does in this process or thread
mod disposition; // sigaction(2)
mod early; // what signals do before there is a pool
#[cfg(all(target_os = "linux", not(prefork_portable)))]
mod linux; // the queue as a descriptor: signalfd(2)
mod lists; // which signals matter, as the caller says
mod name; // the signals that have names
mod notes; // what a handler has noted
#[cfg(any(not(target_os = "linux"), prefork_portable))]
mod portable; // the queue by handlers: pselect(2)
mod received; // a signal that arrived, and its sender
mod resend; // sending a signal once more
pub(super) mod set; // sets of signals, and the mask

pub(crate) use block::Mask;
pub(crate) use change::{add_handler, is_ignored, spawn_without_signals, suspend, unblock};
pub(crate) use change::{default_broken_pipes, forget_pending};
pub(crate) use early::{EarlyHandlers, catch_early, had_terminal, hold_stops};
#[cfg(all(target_os = "linux", not(prefork_portable)))]
pub(crate) use linux::SignalQueue;
pub(crate) use lists::SignalLists;
pub(crate) use name::{Signal, signal_name};
#[cfg(any(not(target_os = "linux"), prefork_portable))]
pub(crate) use portable::SignalQueue;
pub(crate) use received::{Received, Sent};
pub(crate) use resend::resend;

/// How many descriptors [`SignalQueue::ready`] can wait for besides the queue.
const MOST_OTHERS: usize = 2;

/// How many signals [`SignalQueue::read`] returns at most. Where it returns fewer, no other signal waits to be read.
const AT_ONCE: usize = 2;

/// What [`SignalQueue::ready`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) signals: bool,
    pub(crate) other: bool,
}

#[cfg(test)]
mod tests;
