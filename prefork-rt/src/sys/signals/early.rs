//! What signals do before there is a pool: from [`catch_early`] until [`Mask::block`](super::Mask::block).
//!
//! Handlers catch the signals, and no signal is blocked, because a command that the program runs meanwhile would
//! inherit the mask. A stop ends the program at once. Any other signal is noted, with its sender, and sent again once
//! it can wait in the kernel. Only signals with the default action are caught, and each gets its default action back,
//! unless the program has given it another handler meanwhile. This must not know what a signal asks of a pool.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disposition::Disposition;
use super::lists::{LISTS, lists, numbers, refusable};
use super::notes::Notes;
use super::received::sender;
use super::set::Set;
use super::{Received, Sent, Signal, SignalLists, resend};
use crate::sys::process::send;
use crate::sys::{end_now, getpid, has_terminal, stderr};

static HANDLERS: Mutex<Handlers> = Mutex::new(Handlers { values: 0, is_over: false, before: Vec::new() });
static NOTES: Notes = Notes::new();
/// What a stop does: one of the four numbers below.
static STOP: AtomicU8 = AtomicU8::new(ENDS);
/// A stop ends the program with a line and status 0.
const ENDS: u8 = 0;
/// A stop is noted, until the start that is under way has succeeded or failed.
const WAITS_FOR_START: u8 = 1;
/// A stop is noted, for the pool that this process takes over.
const WAITS_FOR_POOL: u8 = 2;
/// A stop ends the program as if there were no handler.
const ENDS_BY_DEFAULT: u8 = 3;
/// The process that has installed the handlers. In a process forked from it, they act as the default action would.
static PROCESS: AtomicI32 = AtomicI32::new(0);
/// Whether this process had a controlling terminal when its signals were first caught.
static HAD_TERMINAL: AtomicBool = AtomicBool::new(false);

struct Handlers {
    /// The number of [`EarlyHandlers`] values.
    values: usize,
    /// There is a pool, or this process is one of its workers, or this process will have no pool.
    is_over: bool,
    /// The signals that have our handler, with their dispositions from before.
    before: Vec<(c_int, Disposition)>,
}

/// Our handlers catch signals as long as there is a value of this type, and no pool.
pub(crate) struct EarlyHandlers(());

/// Installs handlers for the signals in these lists. The lists of the first call hold for the life of the process.
pub(crate) fn catch_early(lists: &'static SignalLists) -> EarlyHandlers {
    LISTS.get_or_init(|| lists);
    let mut handlers = handlers();
    handlers.values += 1;
    if !handlers.is_over {
        HAD_TERMINAL.fetch_or(has_terminal(), Ordering::Relaxed);
    }
    handlers.update();
    EarlyHandlers(())
}

impl EarlyHandlers {
    /// Says that this process takes a pool over, whose workers would die with it. From here on a stop waits for the pool, and so
    /// does every other signal that would end this program. The previous binary has left all signals blocked; from here on only
    /// those in `blocked` are, and those that the lists name.
    pub(crate) fn keep_for_the_pool(&self, blocked: &[c_int]) {
        let mut handlers = handlers();
        if handlers.is_over {
            return;
        }
        STOP.store(WAITS_FOR_POOL, Ordering::Relaxed);
        refusable().into_iter().for_each(|signal| handlers.take(signal));
        let left = numbers(lists().blocked_meanwhile);
        // It cannot fail: see pthread_sigmask(3).
        let _ = Set::of(blocked.iter().copied().chain(left)).become_mask();
    }

    /// Says that there will be no pool in this process. The default action of a signal does not end PID 1, so there the stop
    /// signals keep a handler, which ends the process.
    pub(crate) fn leave_to_the_program(self) {
        let mut handlers = handlers();
        handlers.is_over = true;
        handlers.update();
        if getpid().as_raw() == 1 {
            STOP.store(ENDS_BY_DEFAULT, Ordering::Relaxed);
            numbers(lists().stops).for_each(|signal| handlers.take(signal));
            // The handlers stay for good.
            handlers.before.clear();
        }
    }
}

impl Drop for EarlyHandlers {
    fn drop(&mut self) {
        let mut handlers = handlers();
        handlers.values -= 1;
        handlers.update();
        if handlers.is_over {
            return;
        }
        let is_last = handlers.values == 0;
        drop(handlers);
        let waited_for_start = STOP.compare_exchange(WAITS_FOR_START, ENDS, Ordering::Relaxed, Ordering::Relaxed);
        if is_last || waited_for_start.is_ok() {
            for stop in numbers(lists().stops) {
                if let Some(sent) = NOTES.take(stop) {
                    end_program(stop, sent);
                }
            }
        }
        if is_last {
            // The signals that are left were for a pool that will not exist.
            NOTES.clear();
            STOP.store(ENDS, Ordering::Relaxed);
        }
    }
}

/// Whether this process had a controlling terminal before there was a pool. The terminal may have gone since.
pub(crate) fn had_terminal() -> bool {
    HAD_TERMINAL.load(Ordering::Relaxed)
}

/// Makes a stop wait for the end of this start from here on, because the start makes something that must be removed.
pub(crate) fn hold_stops() {
    // Where a stop waits for a pool, or there will be no pool, nothing changes.
    let _ = STOP.compare_exchange(ENDS, WAITS_FOR_START, Ordering::Relaxed, Ordering::Relaxed);
}

/// Says that there is a pool from here on. All signals are blocked; those that were noted are pending afterwards.
pub(super) fn end() {
    let mut handlers = handlers();
    handlers.is_over = true;
    handlers.update();
    for signal in Notes::numbers() {
        if let Some(sent) = NOTES.take(signal) {
            resend(&Received { signal, sent });
        }
    }
}

/// Says that there is no pool after all.
pub(super) fn begin_again() {
    let mut handlers = handlers();
    handlers.is_over = false;
    handlers.update();
}

fn handlers() -> MutexGuard<'static, Handlers> {
    HANDLERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handlers {
    /// Installs or removes the handlers, as it should be now.
    fn update(&mut self) {
        if self.values > 0 && !self.is_over {
            let SignalLists { stops, harmless_in_children, .. } = lists();
            numbers(stops).chain(numbers(harmless_in_children)).for_each(|signal| self.take(signal));
        } else {
            self.give_back();
        }
    }

    /// Installs our handler, if the signal has the default action.
    fn take(&mut self, signal: c_int) {
        if Disposition::of(signal).is_ok_and(|now| now.is_default()) {
            PROCESS.store(getpid().as_raw(), Ordering::Relaxed);
            // It cannot fail for a signal that has a disposition: see sigaction(2).
            self.before.extend(Disposition::handler(arrived).set(signal).map(|before| (signal, before)));
        }
    }

    fn give_back(&mut self) {
        for (signal, before) in self.before.drain(..) {
            if is_in_place(signal) {
                // It cannot fail, as above.
                let _ = before.set(signal);
            }
        }
    }
}

/// Whether our handler is the signal's own, and not one that another handler runs besides itself.
fn is_in_place(signal: c_int) -> bool {
    Disposition::of(signal).is_ok_and(|now| now.has(arrived))
}

/// Async-signal-safe: atomics, and system calls that signal-safety(7) lists.
#[inline(never)] // It is recognized by its address, so it must have one address only.
extern "C" fn arrived(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    let errno = errno::errno();
    // SAFETY: the kernel calls a SA_SIGINFO handler with a pointer to a siginfo_t that is valid during the call. A handler
    // that has taken the place of ours passes the pointer on.
    let sent = sender(unsafe { &*info });
    // A handler that has taken the place of ours may call ours. There would be no default action then, and ours does nothing.
    if is_in_place(signal) {
        act(signal, sent);
    }
    errno::set_errno(errno);
}

fn act(signal: c_int, sent: Sent) {
    if getpid().as_raw() != PROCESS.load(Ordering::Relaxed) {
        return act_by_default(signal);
    }
    match STOP.load(Ordering::Relaxed) {
        ENDS if numbers(lists().stops).any(|stop| stop == signal) => end_program(signal, sent),
        ENDS_BY_DEFAULT => end_now(128 + signal),
        _ => NOTES.note(signal, sent),
    }
}

/// Sends the signal once more. When this handler returns, it arrives and finds the default action.
fn act_by_default(signal: c_int) {
    // It cannot fail for a signal that was delivered: see sigaction(2), kill(2).
    let _ = Disposition::default_action().set(signal);
    let _ = send(getpid().as_raw(), signal);
}

/// Async-signal-safe.
fn end_program(signal: c_int, sent: Sent) -> ! {
    let mut line = Line { bytes: [0; 128], length: 0 };
    line.push(stderr::Severity::Info.prefix());
    line.push("prefork: ");
    line.push(Signal::of_number(signal).map_or("a signal", Signal::as_str));
    match sent {
        Sent::ByKernel | Sent::ForChild(_) => line.push(" from the terminal"),
        Sent::By(0) => line.push(" from outside this container"),
        Sent::By(pid) => {
            line.push(" from pid ");
            line.push_number(pid.unsigned_abs());
        }
    }
    line.push(lists().stopped_early);
    line.push("\n");
    stderr::write_in_handler(line.text());
    end_now(0)
}

/// A text that is made without an allocation.
struct Line {
    bytes: [u8; 128],
    length: usize,
}

impl Line {
    /// Adds as much of the text as fits.
    fn push(&mut self, text: &str) {
        for (place, &byte) in self.bytes.iter_mut().skip(self.length).zip(text.as_bytes()) {
            *place = byte;
            self.length += 1;
        }
    }

    fn push_number(&mut self, number: u32) {
        if number >= 10 {
            self.push_number(number / 10);
        }
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = b'0' + (number % 10) as u8;
            self.length += 1;
        }
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_made_of_text_and_numbers_as_far_as_it_fits() {
        let mut line = Line { bytes: [0; 128], length: 0 };
        for number in [0, 7, 10, 4711, u32::MAX] {
            line.push_number(number);
            line.push(" ");
        }
        assert_eq!(line.text(), b"0 7 10 4711 4294967295 ");
        line.push(&"x".repeat(200));
        line.push_number(1);
        assert_eq!(line.text().len(), 128);
    }
}
