//! Signals that are no stop, what is in place at the start, and what workers get of it.

mod before_the_pool;
mod refused;
#[path = "../support/mod.rs"]
mod support;
mod workers;

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use support::before_exec::{blocking, ignoring};
use support::session::Session;
use support::upgrading::Upgrading;
use support::{Program, Signal, children_of, clean_command, fixture, moments, send, state_of, status_of, until, words};

#[test]
fn a_signal_that_comes_too_late_is_refused_with_one_line() {
    let mut program = Session::start(fixture("ignores-term").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
    program.stdout.wait_for_nth("task", 2);
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping 2 workers");
    for signal in [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGTTIN, Signal::SIGTTOU] {
        program.signal(signal);
        program.stderr.wait_for(&format!("{signal} from pid {} is ignored: the pool is", std::process::id()));
        assert_eq!(program.stderr.count(signal.as_str()), 1, "{:#?}", program.stderr.all());
    }
    program.signal(Signal::SIGQUIT);
    assert_eq!(program.exit_code(), 0);
}

/// From a watcher of files gone wild, say.
#[test]
fn signals_without_end_do_not_keep_the_supervisor_from_its_work() {
    for signal in [Signal::SIGHUP, Signal::SIGUSR1] {
        let command = &mut fixture("sleeps");
        // Thousands of lines would be of no use.
        let mut program = Program::start_with_stderr(command.env("PREFORK_WORKERS", "50"), Stdio::null());
        let (pid, first) = (program.pid(), program.wait_for_children(50)[0]);
        let sender = Endless::send(pid, signal);
        // A reload may have replaced it by now.
        let _ = kill(Pid::from_raw(first), Signal::SIGKILL);
        until("the worker is reaped", || state_of(first).is_none().then_some(()));
        program.signal(Signal::SIGTERM);
        until("the supervisor ends", || (state_of(pid) == Some('Z')).then_some(()));
        // It is not reaped before the last signal is sent: no other process gets its number.
        drop(sender);
        assert_eq!(program.exit_code(), 0);
    }
}

/// Sends a signal again and again, until it is dropped.
struct Endless(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Endless {
    fn send(pid: i32, signal: Signal) -> Endless {
        Endless::send_with(move || send(pid, signal))
    }

    fn send_with(send: impl Fn() + Send + 'static) -> Endless {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                send();
            }
        });
        Endless(is_over, Some(thread))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(JoinHandle::join);
    }
}

#[test]
fn a_signal_ignored_at_entry_is_never_a_stop() {
    let ignored = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT];
    let program = Session::start(ignoring(&mut fixture("sleeps"), ignored));
    let workers = program.wait_for_children(3);
    for signal in ignored {
        program.signal(signal);
    }
    // The kernel hands out the lowest number first, so whatever was to be read of the others was read before.
    program.signal(Signal::SIGTTIN);
    let now = program.wait_for_children(4);
    assert!(workers.iter().all(|worker| now.contains(worker)), "{workers:?} became {now:?}");
    assert_eq!(program.stderr.count("stop"), 0, "{:#?}", program.stderr.all());
}

#[test]
fn nohup_leaves_the_stop_signals() {
    let mut program = Session::start(ignoring(&mut fixture("sleeps"), [Signal::SIGHUP]));
    program.wait_for_children(3);
    program.signal(Signal::SIGHUP);
    program.stderr.wait_for(": 3 workers were replaced");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}

/// As PID 1 of a container does with what `docker kill` sends.
#[test]
fn sighup_that_is_passed_on_by_a_session_leader_without_a_terminal_is_a_reload() {
    let mut shell = clean_command("sh");
    // The first line that it reads ends the wait.
    shell.arg("-c").arg("\"$0\" \"$@\" & read line; kill -HUP $!; read line").args(words(&fixture("sleeps")));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let program = Session::start(shell.stdin(reader));
    program.stderr.wait_for("ready after");
    (&writer).write_all(b"\n").expect("the shell reads");
    program.stderr.wait_for(&format!("SIGHUP from pid {}: reloading 3 workers", program.pid()));
    program.stderr.wait_for(": 3 workers were replaced");
}

#[test]
fn a_stop_signal_blocked_at_entry_stops() {
    let mut program = Session::start(blocking(&mut fixture("ignores-term"), [Signal::SIGTERM, Signal::SIGCHLD]));
    program.stdout.wait_for_nth("blocks all signals", 2);
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping 2 workers");
    program.signal(Signal::SIGQUIT);
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

#[test]
fn a_supervisor_started_with_sigchld_ignored_behaves_the_same() {
    let mut command = fixture("dies-young");
    // Another worker would end in one way or another when this one is given up.
    ignoring(&mut command, [Signal::SIGCHLD]).env("PREFORK_MAX_RESTARTS", "3").env("PREFORK_WORKERS", "1");
    let mut program = Session::start(&mut command);
    assert_eq!(program.exit_code(), 1);
    assert_eq!(program.stderr.count("exited with status 1 after"), 4);
    assert_eq!(program.stderr.count("restarting"), 3);
    program.wait_until_empty();
}

/// kill(2), for signals that nix does not know too.
fn send_number(pid: i32, signal: i32) {
    // SAFETY: kill(2) takes any two numbers and touches no memory.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "signal {signal} to {pid}");
}

#[test]
fn a_stop_during_the_preload_of_an_upgrade_lets_the_workers_drain() {
    let mut upgrading = Upgrading::start("serves-1");
    upgrading.upgrade_to("waits-later");
    upgrading.program.stdout.wait_for("preloads");
    let pid = upgrading.program.pid();
    // Nothing is blocked but what a terminal sends to its background, so nothing is in the commands that it runs.
    let blocked = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].map(|signal| 1u64 << (signal as u64 - 1));
    until("the mask is as it was", || {
        (status_of(pid, "SigBlk") == format!("{:016x}", blocked.iter().sum::<u64>())).then_some(())
    });
    for signal in [libc::SIGALRM, libc::SIGRTMIN(), libc::SIGTERM] {
        send_number(pid, signal);
    }
    until("they are delivered", || (status_of(pid, "ShdPnd") == "0".repeat(16)).then_some(()));
    assert_eq!(children_of(pid).len(), 2);
    std::fs::write(upgrading.release.path("go"), "").expect("a file");
    let by = std::process::id();
    upgrading.program.stderr.wait_for(&format!("SIGTERM from pid {by}: stopping 2 workers"));
    assert_eq!(upgrading.program.exit_code(), 0);
    assert_eq!(upgrading.program.stderr.count("had to be killed"), 0, "{:#?}", upgrading.program.stderr.all());
    assert_eq!(upgrading.program.stderr.count("is refused: "), 2, "{:#?}", upgrading.program.stderr.all());
}

#[test]
fn what_was_asked_of_a_new_binary_that_cannot_start_is_asked_of_the_one_before() {
    let mut upgrading = Upgrading::start("serves-1");
    upgrading.upgrade_to("fails-late");
    upgrading.program.stdout.wait_for("preloads");
    let pid = upgrading.program.pid();
    upgrading.program.signal(Signal::SIGTERM);
    until("it is delivered", || (status_of(pid, "ShdPnd") == "0".repeat(16)).then_some(()));
    std::fs::write(upgrading.release.path("go"), "").expect("a file");
    let by = std::process::id();
    upgrading.program.stderr.wait_for("the database is gone");
    upgrading.program.stderr.wait_for(&format!("SIGTERM from pid {by}: stopping 2 workers"));
    assert_eq!(upgrading.program.exit_code(), 0);
    assert_eq!(upgrading.program.stderr.count("had to be killed"), 0, "{:#?}", upgrading.program.stderr.all());
}

/// Promise 4; `.ci/strace.sh` widens the moments in which a fork is under way.
#[test]
fn no_signal_to_the_supervisor_is_lost_while_it_starts() {
    for moment in moments().take(60) {
        let mut program = Session::start(fixture("sleeps").env("PREFORK_WORKERS", "16"));
        program.stderr.wait_for("starting 16 workers");
        std::thread::sleep(Duration::from_micros(moment % 4000));
        program.signal(Signal::SIGTERM);
        assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
        program.wait_until_empty();
    }
}

/// Promise 4.
#[test]
fn no_signal_to_the_supervisor_is_lost_while_it_restarts() {
    for moment in moments().take(40) {
        let mut command = fixture("dies-young");
        let mut program = Session::start(command.env("PREFORK_BACKOFF", "0s").env("PREFORK_MAX_RESTARTS", "unlimited"));
        program.stderr.wait_for_nth("restarting", 10);
        std::thread::sleep(Duration::from_micros(moment % 4000));
        program.signal(Signal::SIGTERM);
        assert_eq!(program.exit_code(), 0);
        program.wait_until_empty();
    }
}
