//! Signals: owned from the start, blocked, queued and read one by one; given back to a worker as they were.

mod disposition;
mod early;
#[cfg(all(target_os = "linux", not(prefork_portable)))]
mod linux;
mod notes;
#[cfg(any(not(target_os = "linux"), prefork_portable))]
mod portable;
mod resend;

use std::ffi::{c_int, c_void};
use std::io;

pub(crate) use nix::sys::signal::Signal;

use super::mask::{Set, pending};
use super::of_call;
use disposition::Disposition;

pub(crate) use early::{Owned, had_terminal, hold_stops, own};
#[cfg(all(target_os = "linux", not(prefork_portable)))]
pub(crate) use linux::SignalQueue;
#[cfg(any(not(target_os = "linux"), prefork_portable))]
pub(crate) use portable::SignalQueue;
pub(crate) use resend::resend;

/// Those that stop the pool.
const STOPS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

/// What a supervisor reads instead of suffering its default action. All are blocked, SIGTTIN and SIGTTOU too: with a
/// handler of SIGTTOU that is not blocked, a write to a terminal that forbids it (`stty tostop`) starts again without end.
/// What is pending is not pending twice, so signals that follow each other faster than they are read are one.
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

/// What is sent to every process of a service at once (`pidof`, `systemctl kill`) and means something to the supervisor:
/// a worker without a handler of its own does not die of it.
const SENT_TO_ALL: [Signal; 3] = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// What a terminal sends to everybody in its foreground group.
const FROM_TERMINAL: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGHUP];

/// The most descriptors that a queue can be waited for together with.
const MOST_OTHERS: usize = 2;

/// What the supervisor neither reads nor refuses: what says that this process is broken, what cannot be caught, and what
/// does nothing by default. SIGPIPE is blocked, and no more: the supervisor may bring it upon itself.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_REFUSED: [Signal; 12] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGABRT,
    Signal::SIGTRAP,
    Signal::SIGSYS,
    Signal::SIGKILL,
    Signal::SIGSTOP,
    Signal::SIGURG,
    Signal::SIGWINCH,
    Signal::SIGPIPE,
];

/// The signal mask, and the disposition of SIGCHLD, as they were.
#[derive(Clone)]
pub(crate) struct Mask {
    blocked: Set,
    /// That of SIGCHLD, where it was not the default.
    child: Option<Disposition>,
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Its number: one for real time has no name.
    pub(crate) signal: c_int,
    pub(crate) sent: Sent,
}

/// What there is to read, as [`SignalQueue::ready`] found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) signals: bool,
    pub(crate) other: bool,
}

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel: a terminal's key, a terminal gone, a timer, a limit.
    ByKernel,
    /// A process, with this id.
    By(i32),
}

impl Mask {
    /// Blocks what the supervisor reads, and SIGPIPE, and gives SIGCHLD its default disposition, without which the
    /// kernel would throw exit statuses away. Signals are not [owned](own) any more: what was noted is pending.
    pub(crate) fn block() -> io::Result<Mask> {
        // All of them, until it is known which have a handler of the program's own.
        let blocked = Set::all().block()?;
        early::end();
        let arrange = || {
            spare_workers()?;
            let child = set(Signal::SIGCHLD, &Disposition::default_action())?;
            let was_default = child.is_default() && child.has_no_flags();
            let mut mask = blocked;
            queued()?.into_iter().chain([Signal::SIGPIPE as c_int]).for_each(|signal| mask.add(signal));
            mask.become_mask()?;
            Ok(Mask { blocked, child: Some(child).filter(|_| !was_default) })
        };
        arrange().inspect_err(|_| {
            // The error that is reported is the one that matters.
            let _ = blocked.become_mask();
        })
    }

    /// The signals that were blocked before, and whether SIGCHLD was ignored: for the program that this one becomes, as
    /// exec(2) keeps what is now, and not what was.
    pub(crate) fn to_hand_over(&self) -> (Vec<c_int>, bool) {
        (self.blocked.numbers().collect(), self.child.is_some_and(|child| child.is_ignored()))
    }

    /// The other way round: what [`block`](Mask::block) found is what the program before has left, and not what was.
    pub(crate) fn hand_over(&mut self, blocked: &[c_int], child_ignored: bool) {
        self.blocked = Set::of(blocked.iter().copied());
        if child_ignored {
            self.child.get_or_insert(Disposition::ignore());
        }
    }

    /// Puts both back. In a worker just forked: what a terminal sent to the supervisor's group before the worker left
    /// it was not meant for the worker, and is forgotten.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn restore_in_worker(&self) -> io::Result<()> {
        let pending = pending()?;
        for signal in FROM_TERMINAL {
            if pending.contains(signal as c_int) {
                forget_pending(signal)?;
            }
        }
        self.restore_before_exec()
    }

    /// Puts both back, in a process that becomes another program, which has no handler of ours. Async-signal-safe.
    pub(crate) fn restore_before_exec(&self) -> io::Result<()> {
        if let Some(child) = &self.child {
            set(Signal::SIGCHLD, child)?;
        }
        self.blocked.become_mask()
    }

    /// Puts everything back, in a process that has no pool after all. Signals are owned as before.
    pub(crate) fn restore(&self) -> io::Result<()> {
        for signal in SENT_TO_ALL {
            if disposition_of(signal)?.has(nothing) {
                set(signal, &Disposition::default_action())?;
            }
        }
        early::begin_again();
        self.restore_before_exec()
    }
}

/// Has what is sent to every process of a service do nothing in the workers, which inherit it, where its disposition is
/// the default. exec(2) gives that back.
fn spare_workers() -> io::Result<()> {
    for signal in SENT_TO_ALL {
        if disposition_of(signal)?.is_default() {
            set(signal, &Disposition::handler(nothing))?;
        }
    }
    Ok(())
}

#[inline(never)] // It has one address, by which it is known.
extern "C" fn nothing(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}

fn is_stop(signal: c_int) -> bool {
    STOPS.into_iter().any(|stop| stop as c_int == signal)
}

/// Who sent a signal. Async-signal-safe.
fn sender(info: &libc::siginfo_t) -> Sent {
    // SAFETY: where a process has sent the signal its id is filled in; elsewhere there are initialized bytes of another
    // field, which are not looked at.
    sender_by(info.si_code, unsafe { info.si_pid() })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn sender_by(code: c_int, pid: i32) -> Sent {
    match code {
        libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL | libc::SI_MESGQ => Sent::By(pid),
        // The others below 0 are timers and files, for which the kernel sends it.
        _ => Sent::ByKernel,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn sender_by(code: c_int, pid: i32) -> Sent {
    if code > 0 { Sent::ByKernel } else { Sent::By(pid) }
}

/// Discards a signal that is pending: POSIX does so when a signal is set to be ignored.
pub(super) fn forget_pending(signal: Signal) -> io::Result<()> {
    let before = set(signal, &Disposition::ignore())?;
    set(signal, &before)?;
    Ok(())
}

/// What the queue is to hold.
fn queued() -> io::Result<Vec<c_int>> {
    let mut signals: Vec<c_int> = QUEUED.into_iter().map(|signal| signal as c_int).chain(refusable()).collect();
    for signal in LEFT_IGNORED {
        if is_ignored(signal)? {
            signals.retain(|queued| *queued != signal as c_int);
        }
    }
    Ok(signals)
}

/// What means nothing to the supervisor and would end it.
fn refusable() -> impl Iterator<Item = c_int> {
    // What the C library keeps for itself has no disposition.
    others().filter(|&signal| Disposition::of(signal).is_ok_and(|now| now.is_default()))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn others() -> impl Iterator<Item = c_int> {
    let is_known = |signal: c_int| NOT_REFUSED.iter().chain(&QUEUED).any(|&known| known as c_int == signal);
    (1..=libc::SIGRTMAX()).filter(move |&signal| !is_known(signal))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn others() -> impl Iterator<Item = c_int> {
    let signals = [Signal::SIGALRM, Signal::SIGVTALRM, Signal::SIGPROF, Signal::SIGXCPU, Signal::SIGXFSZ];
    signals.into_iter().map(|signal| signal as c_int)
}

fn disposition_of(signal: Signal) -> io::Result<Disposition> {
    Disposition::of(signal as c_int).map_err(of_call("sigaction(2)"))
}

fn set(signal: Signal, disposition: &Disposition) -> io::Result<Disposition> {
    disposition.set(signal as c_int).map_err(of_call("sigaction(2)"))
}

/// Gives SIGPIPE its default action, as std does in what it starts: std ignores the signal in a Rust program.
pub(crate) fn default_broken_pipes() -> io::Result<()> {
    set(Signal::SIGPIPE, &Disposition::default_action()).map(drop)
}

/// Whether the signal is ignored. Before a [`SignalQueue`] is opened: whether it was when this program started.
pub(crate) fn is_ignored(signal: Signal) -> io::Result<bool> {
    Ok(disposition_of(signal)?.is_ignored())
}

/// Whether the kernel sends the signal for a terminal.
pub(crate) fn is_by_terminal(signal: c_int) -> bool {
    FROM_TERMINAL.into_iter().any(|known| known as c_int == signal)
}

/// Stops this process as a terminal's stop key would, and returns when it was continued, or at once where the kernel
/// does not stop it (PID 1, or an orphaned process group).
pub(crate) fn suspend() -> io::Result<()> {
    let before = set(Signal::SIGTSTP, &Disposition::default_action())?;
    nix::sys::signal::kill(super::getpid(), Signal::SIGTSTP)?;
    let blocked = Set::one(Signal::SIGTSTP).unblock()?;
    blocked.become_mask()?;
    set(Signal::SIGTSTP, &before)?;
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
    Set::one(signal).unblock().map(drop)
}

/// Starts a thread in which no handler ever runs.
pub(crate) fn spawn_without_signals(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A thread begins with the mask of the one that starts it.
    let before = Set::all().block()?;
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    before.become_mask()?;
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
        assert_eq!(stop, Received { signal: Signal::SIGTERM as c_int, sent: Sent::By(std::process::id() as i32) });
        assert_eq!(queue.read().map(|received| received.signal), Some(Signal::SIGHUP as c_int));
        assert!(queue.read_stop().is_none());

        // Signals are told of even while the other is always ready.
        raise(Signal::SIGUSR1);
        raise(Signal::SIGUSR2);
        let mut read = Vec::new();
        while queue.ready(Some(reader.as_fd()), None).signals {
            read.extend(queue.read());
        }
        assert!(read.iter().all(|received| received.sent == Sent::By(std::process::id() as i32)));
        let signals = [Signal::SIGUSR1, Signal::SIGUSR2].map(|signal| signal as c_int);
        assert_eq!(read.iter().map(|received| received.signal).collect::<Vec<_>>(), signals);
        assert_eq!(queue.ready(Some(reader.as_fd()), LONG), OTHER);

        reader.read_exact(&mut [0]).expect("read");
        raise(Signal::SIGTTIN);
        for timeout in [LOOK, LONG, None] {
            assert_eq!(queue.ready(Some(reader.as_fd()), timeout), SIGNALS);
            assert_eq!(queue.ready(None, timeout), SIGNALS);
        }
        assert!(queue.read().is_some_and(|received| received.signal == Signal::SIGTTIN as c_int));
        assert!(queue.read().is_none());

        // So are those that only have a number.
        #[cfg(target_os = "linux")]
        for signal in [libc::SIGRTMIN(), libc::SIGRTMAX(), libc::SIGSTKFLT] {
            // SAFETY: raise(3) takes any number and touches no memory.
            assert_eq!(unsafe { libc::raise(signal) }, 0);
            assert_eq!(queue.ready(None, LONG), SIGNALS);
            assert_eq!(queue.read(), Some(Received { signal, sent: Sent::By(std::process::id() as i32) }));
        }

        // The end of the other can be read too.
        drop(writer);
        assert_eq!(queue.ready(Some(reader.as_fd()), None), OTHER);
        queue.close().expect("closed");
        mask.restore().expect("restored");
    }
}
