//! Which signals the supervisor reads, and what each of them asks for. It tells a hang-up from a reload, and an echo from a
//! second request.
//!
//! It must not know what the policy makes of it.

use std::ffi::c_int;
use std::io::{self, IsTerminal};
use std::mem;
use std::time::{Duration, Instant};

use super::Supervisor;
use crate::amounts;
use crate::logging;
use crate::policy::{Ask, Event, ProcId};
use crate::sys::{self, Pid, Received, Sent, Signal, SignalLists};

/// Which signals the supervisor reads, and what becomes of the others.
pub(crate) static SIGNALS: SignalLists = SignalLists {
    stops: &[Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT],
    // All are blocked, SIGTTIN and SIGTTOU too: if SIGTTOU had a handler and were not blocked, a write to a terminal that
    // forbids it (`stty tostop`) would start again without end. A signal cannot be pending twice, so a burst of one signal
    // may count once.
    queued: &[
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
    ],
    // `nohup` ignores them, and so does a shell script in its background jobs: the terminal's keys are not meant for these.
    left_ignored: &[Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP],
    // `systemctl kill`, or `kill $(pidof app)`, sends them to every process of a service. The supervisor takes them as
    // requests, and a worker without a handler of its own must not die of them.
    harmless_in_children: &[Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2],
    from_terminal: &FROM_TERMINAL,
    // A handler of SIGTTOU would run without end, as above.
    blocked_meanwhile: &[Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGTSTP],
    // Writes of the supervisor may cause it.
    blocked_unread: &[Signal::SIGPIPE],
    left_alone: &[
        // They say that this process is broken.
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGABRT,
        Signal::SIGTRAP,
        Signal::SIGSYS,
        // They cannot be caught.
        Signal::SIGKILL,
        Signal::SIGSTOP,
        // They do nothing by default.
        Signal::SIGURG,
        Signal::SIGWINCH,
    ],
    stopped_early: ": stopped before any worker was started: exiting with status 0",
};

/// What a terminal sends to every process in its foreground group.
const FROM_TERMINAL: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGHUP];

/// A stop repeated sooner by the leader of our process group is an echo.
const ECHO: Duration = Duration::from_millis(500);
/// A shell that hangs up its jobs has ended within this time.
const MOMENT: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// Why its SIGHUP is a hang-up.
const BY_SHELL: &str = ", the shell of this session, which ends";
/// How often a signal that is refused again and again gets a line.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// What the supervisor remembers from one signal to the next.
pub(super) struct Heard {
    terminal: Terminal,
    /// The policy was told that the terminal went away.
    hung_up: bool,
    suspicion: Option<Suspicion>,
    /// The last stop that was asked for, and when.
    asked: Option<(Received, Instant)>,
    refused: Vec<Refused>,
}

/// What this process had of a terminal when it started.
struct Terminal {
    is_stdin: bool,
    controls_us: bool,
    /// SIGHUP was ignored: `nohup`.
    hangups_ignored: bool,
}

/// The leader of this session has sent SIGHUP: a hang-up if that process is gone a moment later, else a reload.
struct Suspicion {
    received: Received,
    next_look: Instant,
    until: Instant,
}

/// A signal that was refused, when a line reported it, and how often it came since.
struct Refused {
    signal: c_int,
    last_line: Instant,
    since: usize,
}

/// What a SIGHUP means, and the evidence.
enum Meaning {
    Reload,
    HangUp(&'static str),
    /// One of the two: the sender may be a shell that ends.
    Unknown,
}

impl Supervisor {
    pub(super) fn take_signal(&mut self, received: &Received) {
        let by = sender(received);
        let Some(signal) = Signal::of_number(received.signal) else { return self.refuse(received) };
        let (ask, by) = match signal {
            Signal::SIGTERM | Signal::SIGINT if self.is_echo(received) => return,
            // bash sends both SIGTERM and SIGHUP to a suspended job, and both ask for one stop.
            Signal::SIGTERM if self.heard.hung_up => return,
            Signal::SIGTERM => (Ask::Stop, by),
            Signal::SIGINT if received.sent == Sent::ByKernel => (Ask::CtrlC, by),
            Signal::SIGINT => (Ask::Interrupt, by),
            Signal::SIGQUIT => (Ask::StopNow, by),
            Signal::SIGHUP => match self.heard.terminal.meaning(received, self.pid) {
                Meaning::Reload => (Ask::Reload, by),
                Meaning::HangUp(how) => return self.hang_up(&by, how),
                Meaning::Unknown => return self.suspect(received),
            },
            Signal::SIGTTIN | Signal::SIGTTOU if received.sent == Sent::ByKernel => return,
            Signal::SIGTTIN => (Ask::More, by),
            Signal::SIGTTOU => (Ask::Fewer, by),
            Signal::SIGUSR1 => return *self.to_pass_on = Some(*received),
            Signal::SIGUSR2 => (Ask::Upgrade, by),
            Signal::SIGTSTP => return self.suspend(),
            Signal::SIGCONT => return self.go_on(),
            _ => return self.refuse(received),
        };
        self.ask(ask, by);
    }

    fn ask(&mut self, ask: Ask, by: String) {
        if matches!(ask, Ask::Stop | Ask::Interrupt | Ask::CtrlC | Ask::StopNow | Ask::HangUp) {
            // A pool that stops neither reloads nor hangs up.
            self.heard.suspicion = None;
        }
        self.policy.handle(self.clock.now(), Event::Ask(ask, by));
    }

    /// timeout(1) sends its signal twice: to the process that it started, and to its own group, which that process is in.
    /// npm and others pass on what a terminal's key has sent to their whole group already.
    fn is_echo(&mut self, received: &Received) -> bool {
        let before = self.heard.asked.replace((*received, Instant::now()));
        let leader = sys::getpgrp();
        // 0 stands for every process of other PID namespaces.
        let is_known = leader.as_raw() > 0 && leader != self.pid;
        let by_leader = is_known && received.sent == Sent::By(leader.as_raw());
        by_leader && before.is_some_and(|(before, when)| before.signal == received.signal && when.elapsed() < ECHO)
    }

    fn hang_up(&mut self, by: &str, how: &str) {
        self.heard.hung_up = true;
        self.ask(Ask::HangUp, format!("{by}{how}"));
    }

    fn suspect(&mut self, received: &Received) {
        let now = Instant::now();
        let suspicion = Suspicion { received: *received, next_look: now + BETWEEN_LOOKS, until: now + MOMENT };
        self.heard.suspicion.get_or_insert(suspicion);
    }

    /// Decides what the SIGHUP of the session's leader means, when it is time to look.
    pub(super) fn look_for_the_shell(&mut self) {
        let now = Instant::now();
        let Some(suspicion) = &mut self.heard.suspicion else { return };
        if now < suspicion.next_look {
            return;
        }
        suspicion.next_look = now + BETWEEN_LOOKS;
        let (received, is_over) = (suspicion.received, now >= suspicion.until);
        if is_gone(&received) {
            return self.hang_up(&sender(&received), BY_SHELL);
        }
        if is_over {
            self.heard.suspicion = None;
            self.ask(Ask::Reload, sender(&received));
        }
    }

    /// When to look for the shell next.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.heard.suspicion.as_ref().map(|suspicion| suspicion.next_look)
    }

    /// Sends an undecided SIGHUP again, so that the binary that this one becomes finds it pending.
    pub(super) fn leave_undecided(&mut self) {
        if let Some(suspicion) = self.heard.suspicion.take() {
            sys::resend(&suspicion.received);
        }
    }

    /// Passes SIGUSR1 on to every worker. A worker without a handler of its own ignores it.
    pub(super) fn pass_on(&self, received: &Received) {
        let mut count = 0;
        for (pid, _) in self.table.alive() {
            self.send(pid, Signal::SIGUSR1, sys::kill);
            count += 1;
        }
        logging::info(&format!("{}: passed on to {}", sender(received), amounts::workers(count)));
    }

    /// By default the signal would end this process, and the pool with it.
    fn refuse(&mut self, received: &Received) {
        let Some(unsaid) = self.heard.count_refused(received.signal) else { return };
        let unsaid = if unsaid == 0 { String::new() } else { format!(", the last of {} within a minute,", unsaid + 1) };
        logging::warn(&format!(
            "{}{unsaid} is refused: by default it would end the supervisor, and the pool with it; to stop the pool, send \
             SIGTERM",
            sender(received)
        ));
    }

    /// Stops the pool and this process, as the terminal's stop key asks, until it is continued. For the policy, no time
    /// passes in between.
    fn suspend(&mut self) {
        logging::info("SIGTSTP: suspended with all workers, until SIGCONT (fg)");
        // Reports are read first, because heartbeats age while the policy's clock stands still.
        let mut workers: Vec<ProcId> = Vec::new();
        for (_, proc) in self.table.alive() {
            workers.push(proc);
        }
        for proc in workers {
            self.read_report(proc);
        }
        let before = Instant::now();
        self.signal_all(Signal::SIGSTOP);
        if let Err(error) = sys::suspend() {
            logging::warn(&format!("cannot suspend: {error}"));
        }
        self.signal_all(Signal::SIGCONT);
        self.clock.stopped += before.elapsed();
    }

    /// Continues the workers, which may have been stopped with this process. SIGCONT does not tell whether this process was
    /// stopped, or for how long: any process of the session may send it.
    fn go_on(&self) {
        self.signal_all(Signal::SIGCONT);
    }
}

impl Heard {
    /// Call it before the queue is open: until then a signal is ignored if it was ignored when this program started.
    pub(super) fn new() -> Heard {
        let terminal = Terminal {
            is_stdin: io::stdin().is_terminal(),
            controls_us: sys::had_terminal(),
            // Where the system does not tell, SIGHUP counts as not ignored, as usual.
            hangups_ignored: sys::is_ignored(Signal::SIGHUP).unwrap_or(false),
        };
        Heard { terminal, hung_up: false, suspicion: None, asked: None, refused: Vec::new() }
    }

    pub(super) fn stdin_is_terminal(&self) -> bool {
        self.terminal.is_stdin
    }

    pub(super) fn hangups_are_ignored(&self) -> bool {
        self.terminal.hangups_ignored
    }

    /// Notes that SIGHUP was ignored when the previous binary was started.
    pub(super) fn ignore_hangups(&mut self) {
        self.terminal.hangups_ignored = true;
    }

    /// Counts a refused signal. Returns how often it came since the last line, if it is time for a line.
    fn count_refused(&mut self, signal: c_int) -> Option<usize> {
        let now = Instant::now();
        let Some(refused) = self.refused.iter_mut().find(|refused| refused.signal == signal) else {
            self.refused.push(Refused { signal, last_line: now, since: 0 });
            return Some(0);
        };
        if now.duration_since(refused.last_line) < BETWEEN_LINES {
            refused.since += 1;
            return None;
        }
        refused.last_line = now;
        Some(mem::take(&mut refused.since))
    }
}

impl Terminal {
    fn meaning(&self, received: &Received, own: Pid) -> Meaning {
        match received.sent {
            _ if self.hangups_ignored => Meaning::Reload,
            Sent::ByKernel | Sent::ForChild(_) => Meaning::HangUp(", which is gone"),
            // A process that never had a terminal cannot have lost one.
            Sent::By(_) if !self.controls_us => Meaning::Reload,
            Sent::By(_) if is_by_shell(received, own) && is_gone(received) => Meaning::HangUp(BY_SHELL),
            Sent::By(_) if is_by_shell(received, own) => Meaning::Unknown,
            Sent::By(_) if !sys::has_terminal() => Meaning::HangUp(", and the terminal is gone"),
            Sent::By(_) => Meaning::Reload,
        }
    }
}

/// Whether the leader of this session has sent the signal, and is another process, which may end before this one.
fn is_by_shell(received: &Received, own: Pid) -> bool {
    let leader = sys::getsid();
    // 0 stands for every process of other PID namespaces. PID 1 is the init of a container, which passes signals on; when
    // it ends, everything else ends too.
    leader != own && leader.as_raw() > 1 && received.sent == Sent::By(leader.as_raw())
}

/// Whether the sender has ended, or the session has lost its terminal, as it does when its leader ends.
fn is_gone(received: &Received) -> bool {
    let Sent::By(pid) = received.sent else { return false };
    !sys::exists(Pid::from_raw(pid)) || !sys::has_terminal()
}

/// "SIGTERM from pid 4711".
fn sender(received: &Received) -> String {
    let signal = sys::signal_name(received.signal);
    match received.sent {
        Sent::By(0) => format!("{signal} from outside this container"),
        Sent::By(pid) => format!("{signal} from pid {pid}"),
        Sent::ByKernel if FROM_TERMINAL.iter().any(|&known| known as c_int == received.signal) => {
            format!("{signal} from the terminal")
        }
        Sent::ByKernel | Sent::ForChild(_) => format!("{signal} from the kernel"),
    }
}
