//! Signals: blocked, queued and read one by one; given back to a worker as they were.

#[cfg(all(target_os = "linux", not(prefork_portable)))]
mod linux;
#[cfg(any(not(target_os = "linux"), prefork_portable))]
mod portable;

use std::ffi::c_int;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction};

pub(crate) use nix::sys::signal::Signal;

use super::mask::change_mask;
use super::of_call;

#[cfg(all(target_os = "linux", not(prefork_portable)))]
pub(crate) use linux::SignalQueue;
#[cfg(any(not(target_os = "linux"), prefork_portable))]
pub(crate) use portable::SignalQueue;

/// Those that stop the pool.
const STOPS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

/// What a supervisor reads instead of suffering its default action.
const QUEUED: [Signal; 11] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGTSTP,
    Signal::SIGCONT,
    Signal::SIGCHLD,
];

/// Those of them that stop the pool: ignored when this program was started (`nohup`, a background job of a shell
/// script), they stay ignored, and so does the stop key.
const LEFT_IGNORED: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP];

/// What a terminal sends to everybody in its foreground group.
const FROM_TERMINAL: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGHUP];

/// For so many descriptors a queue can be waited for besides.
const MOST_OTHERS: usize = 2;

/// No system has a signal with a higher number, those for real time included.
const MOST_SIGNALS: c_int = 128;

/// The signal mask and the one disposition that supervision may change, as they were.
#[derive(Clone)]
pub(crate) struct Mask {
    blocked: SigSet,
    /// That of SIGCHLD, where it was not the default.
    child: Option<SigAction>,
}

/// A signal that arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) signal: Signal,
    pub(crate) sent: Sent,
}

/// What there is to read, as [`SignalQueue::ready`] found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) signals: bool,
    pub(crate) other: bool,
}

/// Who sent it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel: a terminal's key, or a terminal gone.
    ByKernel,
    /// A process, with this id.
    By(i32),
}

impl Mask {
    /// Blocks what the supervisor reads, and SIGPIPE, and gives SIGCHLD its default disposition, without which the
    /// kernel would throw exit statuses away.
    pub(crate) fn block() -> io::Result<Mask> {
        let mut set: SigSet = QUEUED.into_iter().collect();
        set.add(Signal::SIGPIPE);
        let blocked = change_mask(SigmaskHow::SIG_BLOCK, &set)?;
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        let child = set_disposition(Signal::SIGCHLD, &default)?;
        let was_default = matches!(child.handler(), SigHandler::SigDfl) && child.flags().is_empty();
        Ok(Mask { blocked, child: Some(child).filter(|_| !was_default) })
    }

    /// The signals that were blocked before, and whether SIGCHLD was ignored: for the program that this one becomes, as
    /// exec(2) keeps what is now, and not what was.
    pub(crate) fn to_hand_over(&self) -> (Vec<c_int>, bool) {
        // SAFETY: sigismember(3) reads the set, which is initialized; a number that is no signal's is an error.
        let is_blocked = |&signal: &c_int| unsafe { libc::sigismember(self.blocked.as_ref(), signal) } == 1;
        let ignored = self.child.is_some_and(|child| matches!(child.handler(), SigHandler::SigIgn));
        ((1..=MOST_SIGNALS).filter(is_blocked).collect(), ignored)
    }

    /// The other way round: what [`block`](Mask::block) found is what the program before has left, and not what was.
    pub(crate) fn hand_over(&mut self, blocked: &[c_int], child_ignored: bool) {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: sigemptyset(3) writes one set through the pointer, which is to a live local of that type.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for &signal in blocked {
            // SAFETY: sigaddset(3) changes the set that sigemptyset(3) has made; a number that is no signal's is an error.
            unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
        }
        // SAFETY: sigemptyset(3) has initialized the set.
        let set = unsafe { set.assume_init() };
        // SAFETY: it is what these two functions make, so it is a set that the C library takes.
        self.blocked = unsafe { SigSet::from_sigset_t_unchecked(set) };
        if child_ignored {
            let ignored = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            self.child.get_or_insert(ignored);
        }
    }

    /// Puts both back. In a worker just forked: what a terminal sent to the supervisor's group before the worker left
    /// it was not meant for the worker, and is forgotten.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn restore_in_worker(&self) -> io::Result<()> {
        for signal in pending(FROM_TERMINAL)? {
            forget_pending(signal)?;
        }
        self.restore()
    }

    /// Puts both back.
    pub(crate) fn restore(&self) -> io::Result<()> {
        if let Some(child) = &self.child {
            set_disposition(Signal::SIGCHLD, child)?;
        }
        change_mask(SigmaskHow::SIG_SETMASK, &self.blocked).map(drop)
    }
}

/// Who sent a signal. Async-signal-safe.
fn sender(info: &libc::siginfo_t) -> Sent {
    if info.si_code > 0 {
        return Sent::ByKernel;
    }
    // SAFETY: a code of 0 or less says that a process sent the signal, and then the process id is filled in.
    Sent::By(unsafe { info.si_pid() })
}

/// Discards a signal that is pending: POSIX does so when a signal is set to be ignored.
pub(super) fn forget_pending(signal: Signal) -> io::Result<()> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    let before = set_disposition(signal, &ignore)?;
    set_disposition(signal, &before)?;
    Ok(())
}

/// Those of the signals that are blocked and have arrived: sigpending(2).
fn pending(signals: [Signal; 4]) -> io::Result<impl Iterator<Item = Signal>> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigpending(2) writes one set through the pointer, which is to a live local of that type.
    Errno::result(unsafe { libc::sigpending(set.as_mut_ptr()) }).map_err(of_call("sigpending(2)"))?;
    // SAFETY: sigpending(2) succeeded, so it has written the set.
    let set = unsafe { set.assume_init() };
    // SAFETY: sigismember(3) reads the set, which is initialized and lives in the closure.
    Ok(signals.into_iter().filter(move |&signal| unsafe { libc::sigismember(&raw const set, signal as c_int) } == 1))
}

fn set_disposition(signal: Signal, action: &SigAction) -> io::Result<SigAction> {
    // SAFETY: sigaction(2) is unsafe for the sake of the handler it installs; the callers install the default action,
    // "ignore", or what an earlier sigaction(2) returned for the same signal, which is in place already.
    unsafe { sigaction(signal, action) }.map_err(of_call("sigaction(2)"))
}

/// What the queue is to hold.
fn queued() -> io::Result<Vec<Signal>> {
    let mut signals = QUEUED.to_vec();
    for signal in LEFT_IGNORED {
        if is_ignored(signal)? {
            signals.retain(|queued| *queued != signal);
        }
    }
    Ok(signals)
}

/// Whether the signal is ignored. Before a [`SignalQueue`] is opened: whether it was when this program started.
pub(crate) fn is_ignored(signal: Signal) -> io::Result<bool> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: sigaction(2) with a null second argument changes nothing and writes the current action through the
    // third, which is to a live local of that type.
    let result = unsafe { libc::sigaction(signal as c_int, std::ptr::null(), action.as_mut_ptr()) };
    Errno::result(result).map_err(of_call("sigaction(2)"))?;
    // SAFETY: sigaction(2) succeeded, so it has written the whole structure.
    let action = unsafe { action.assume_init() };
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

/// Stops this process as a terminal's stop key would, and returns when it was continued, or at once where the kernel
/// does not stop it (PID 1, or an orphaned process group).
pub(crate) fn suspend() -> io::Result<()> {
    let stop: SigSet = [Signal::SIGTSTP].into_iter().collect();
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let before = set_disposition(Signal::SIGTSTP, &default)?;
    nix::sys::signal::kill(super::getpid(), Signal::SIGTSTP)?;
    let blocked = change_mask(SigmaskHow::SIG_UNBLOCK, &stop)?;
    change_mask(SigmaskHow::SIG_SETMASK, &blocked)?;
    set_disposition(Signal::SIGTSTP, &before)?;
    Ok(())
}

/// Runs the action in a handler of this signal, after the handlers that were there before, errno preserved. The action
/// makes async-signal-safe calls and no other, and does not panic.
pub(crate) fn add_handler(signal: Signal, action: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
    // SAFETY: what it asks for is that the action is async-signal-safe. There is one caller, `shutdown`, whose action
    // stores atomics and calls getpid(2), clock_gettime(2) and shutdown(2), which signal-safety(7) lists.
    unsafe { signal_hook_registry::register(signal as c_int, action) }.map(drop)
}

/// Lets the signal reach this thread.
pub(crate) fn unblock(signal: Signal) -> io::Result<()> {
    let signals: SigSet = [signal].into_iter().collect();
    change_mask(SigmaskHow::SIG_UNBLOCK, &signals).map(drop)
}

/// Starts a thread in which no handler ever runs.
pub(crate) fn spawn_without_signals(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A thread begins with the mask of the one that starts it.
    let before = change_mask(SigmaskHow::SIG_BLOCK, &SigSet::all())?;
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    change_mask(SigmaskHow::SIG_SETMASK, &before)?;
    thread.map(drop)
}

/// The signal's name: `SIGSEGV`, `SIGRTMIN+3`.
pub(crate) fn signal_name(signal: c_int) -> String {
    if let Ok(signal) = Signal::try_from(signal) {
        return signal.as_str().to_owned();
    }
    match signal - real_time_minimum() {
        0 => "SIGRTMIN".to_owned(),
        offset if offset > 0 => format!("SIGRTMIN+{offset}"),
        _ => format!("signal {signal}"),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn real_time_minimum() -> c_int {
    libc::SIGRTMIN()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn real_time_minimum() -> c_int {
    c_int::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    const LOOK: Option<Duration> = Some(Duration::ZERO);
    const LONG: Option<Duration> = Some(Duration::from_secs(3600));
    const NEITHER: Ready = Ready { signals: false, other: false };
    const SIGNALS: Ready = Ready { signals: true, other: false };
    const OTHER: Ready = Ready { signals: false, other: true };

    #[test]
    fn an_ignored_signal_is_told_from_others() {
        // Rust's runtime ignores the one and handles the other.
        assert!(is_ignored(Signal::SIGPIPE).expect("asked"));
        assert!(!is_ignored(Signal::SIGSEGV).expect("asked"));
    }

    /// Signals go to this thread alone; the queue is one for the whole process, so there is one test of it.
    #[test]
    fn one_look_tells_of_signals_and_of_the_other_descriptor() {
        let raise = |signal| nix::sys::signal::raise(signal).expect("raised");
        let (reader, writer) = nix::unistd::pipe().expect("a pipe");
        let (mut reader, mut writer) = (File::from(reader), File::from(writer));
        let mask = Mask::block().expect("blocked");
        let mut queue = SignalQueue::open(Some(reader.as_fd())).expect("open");

        assert_eq!(queue.ready(Some(reader.as_fd()), LOOK), NEITHER);
        assert_eq!(queue.ready(None, LOOK), NEITHER);
        let before = Instant::now();
        assert_eq!(queue.ready(Some(reader.as_fd()), Some(Duration::from_millis(20))), NEITHER);
        assert!(before.elapsed() >= Duration::from_millis(20));

        writer.write_all(b"x").expect("written");
        for timeout in [LOOK, LONG, None] {
            assert_eq!(queue.ready(Some(reader.as_fd()), timeout), OTHER);
        }
        assert_eq!(queue.ready(None, LOOK), NEITHER);

        // A stop is not hidden by what comes again and again.
        raise(Signal::SIGHUP);
        raise(Signal::SIGTERM);
        let stop = queue.read_stop().expect("a stop");
        assert!(stop == Received { signal: Signal::SIGTERM, sent: Sent::By(std::process::id() as i32) });
        assert_eq!(queue.read().map(|received| received.signal), Some(Signal::SIGHUP));
        assert!(queue.read_stop().is_none());

        // Signals are told of even while the other is always ready.
        raise(Signal::SIGUSR1);
        raise(Signal::SIGUSR2);
        let mut read = Vec::new();
        while queue.ready(Some(reader.as_fd()), None).signals {
            read.extend(queue.read());
        }
        assert!(read.iter().all(|received| received.sent == Sent::By(std::process::id() as i32)));
        assert_eq!(read.iter().map(|received| received.signal).collect::<Vec<_>>(), [Signal::SIGUSR1, Signal::SIGUSR2]);
        assert_eq!(queue.ready(Some(reader.as_fd()), LONG), OTHER);

        reader.read_exact(&mut [0]).expect("read");
        raise(Signal::SIGTTIN);
        for timeout in [LOOK, LONG, None] {
            assert_eq!(queue.ready(Some(reader.as_fd()), timeout), SIGNALS);
            assert_eq!(queue.ready(None, timeout), SIGNALS);
        }
        assert!(queue.read().is_some_and(|received| received.signal == Signal::SIGTTIN));
        assert!(queue.read().is_none());

        // The end of the other can be read too.
        drop(writer);
        assert_eq!(queue.ready(Some(reader.as_fd()), None), OTHER);
        queue.close().expect("closed");
        mask.restore().expect("restored");
    }
}
