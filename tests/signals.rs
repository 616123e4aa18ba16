//! Signals that are no stop, what is in place at the start, and what workers get of it.

mod support;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use support::before_exec::{blocking, ignoring};
use support::session::Session;
use support::{Program, Signal, moments, send, state_of, until};

#[test]
fn a_signal_that_comes_too_late_is_refused_with_one_line() {
    let mut program = Session::start(fixture!("ignores-term").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
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
        let command = &mut fixture!("sleeps");
        // Nobody reads so many lines.
        let mut program = Program::start_with_stderr(command.env("PREFORK_WORKERS", "50"), Stdio::null());
        let (pid, first) = (program.pid(), program.wait_for_children(50)[0]);
        let sender = Endless::send(pid, signal);
        // A reload may have replaced it by now.
        let _ = kill(Pid::from_raw(first), Signal::SIGKILL);
        until("the worker is reaped", || state_of(first).is_none().then_some(()));
        program.signal(Signal::SIGTERM);
        until("the supervisor ends", || (state_of(pid) == Some('Z')).then_some(()));
        // It is not reaped before the last signal is sent: nobody else gets its number.
        drop(sender);
        assert_eq!(program.exit_code(), 0);
    }
}

/// Sends a signal again and again, until it is dropped.
struct Endless(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Endless {
    fn send(pid: i32, signal: Signal) -> Endless {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                send(pid, signal);
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
    let program = Session::start(ignoring(&mut fixture!("sleeps"), ignored));
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
    let mut program = Session::start(ignoring(&mut fixture!("sleeps"), [Signal::SIGHUP]));
    program.wait_for_children(3);
    program.signal(Signal::SIGHUP);
    program.stderr.wait_for(": 3 workers were replaced");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}

/// As PID 1 of a container does with what `docker kill` sends.
#[test]
fn sighup_that_is_passed_on_by_a_session_leader_without_a_terminal_is_a_reload() {
    let fixture = fixture!("sleeps");
    let mut shell = support::clean_command("sh");
    // The first line that it reads ends the wait.
    shell.arg("-c").arg("\"$0\" & read line; kill -HUP $!; read line").arg(fixture.get_program());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let program = Session::start(shell.stdin(reader));
    program.stderr.wait_for("ready after");
    (&writer).write_all(b"\n").expect("the shell reads");
    program.stderr.wait_for(&format!("SIGHUP from pid {}: reloading 3 workers", program.pid()));
    program.stderr.wait_for(": 3 workers were replaced");
}

#[test]
fn a_stop_signal_blocked_at_entry_stops() {
    let mut program = Session::start(blocking(&mut fixture!("ignores-term"), [Signal::SIGTERM, Signal::SIGCHLD]));
    program.stdout.wait_for_nth("blocks all signals", 2);
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping 2 workers");
    program.signal(Signal::SIGQUIT);
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

#[test]
fn a_supervisor_started_with_sigchld_ignored_behaves_the_same() {
    let mut command = fixture!("dies-young");
    // Another worker would end in one way or another when this one is given up.
    ignoring(&mut command, [Signal::SIGCHLD]).env("PREFORK_MAX_RESTARTS", "3").env("PREFORK_WORKERS", "1");
    let mut program = Session::start(&mut command);
    assert_eq!(program.exit_code(), 1);
    assert_eq!(program.stderr.count("exited with status 1 after"), 4);
    assert_eq!(program.stderr.count("restarting"), 3);
    program.wait_until_empty();
}

/// Promise 6, as far as signals go.
#[test]
fn a_worker_sees_the_mask_and_dispositions_it_would_have_had_without_us() {
    let starts: [fn(&mut Command) -> &mut Command; 4] = [
        |command| command,
        |command| blocking(command, [Signal::SIGTERM, Signal::SIGUSR2, Signal::SIGCHLD]),
        |command| ignoring(command, [Signal::SIGCHLD]),
        |command| {
            let ignored =
                [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGUSR1];
            ignoring(blocking(command, [Signal::SIGINT, Signal::SIGPIPE]), ignored)
        },
    ];
    for (number, start) in starts.into_iter().enumerate() {
        let mut plain = Program::start(start(fixture!("shows-signals").arg("plain")));
        assert_eq!(plain.exit_code(), 0, "start {number}: {:#?}", plain.stderr.all());
        let expected = plain.stdout.all();
        assert!(!expected.is_empty());
        let mut program = Program::start(start(&mut fixture!("shows-signals")));
        assert_eq!(program.exit_code(), 0, "start {number}: {:#?}", program.stderr.all());
        let shown = program.stdout.all();
        let (worker, replacement) = shown.split_at(expected.len());
        assert_eq!(worker, expected, "start {number}");
        assert_eq!(replacement, expected, "start {number}");
    }
}

/// Promise 4; `.ci/strace.sh` widens the moments in which a fork is under way.
#[test]
fn no_signal_to_the_supervisor_is_lost_while_it_starts() {
    for moment in moments().take(60) {
        let mut program = Session::start(fixture!("sleeps").env("PREFORK_WORKERS", "16"));
        program.stderr.wait_for("starting 16 workers");
        // It announces the start before it takes the signals over.
        until("signals are blocked", || (support::status_of(program.pid(), "SigBlk") != "0".repeat(16)).then_some(()));
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
        let mut command = fixture!("dies-young");
        let mut program = Session::start(command.env("PREFORK_BACKOFF", "0s").env("PREFORK_MAX_RESTARTS", "unlimited"));
        program.stderr.wait_for_nth("restarting", 10);
        std::thread::sleep(Duration::from_micros(moment % 4000));
        program.signal(Signal::SIGTERM);
        assert_eq!(program.exit_code(), 0);
        program.wait_until_empty();
    }
}

#[test]
fn a_stopped_worker_is_neither_ended_nor_replaced() {
    let mut program = Session::start(&mut fixture!("sleeps"));
    let workers = program.wait_for_children(3);
    send(workers[0], Signal::SIGSTOP);
    until("the worker is stopped", || (state_of(workers[0]) == Some('T')).then_some(()));
    // Whatever the supervisor made of it, it has done when it answers this.
    program.signal(Signal::SIGUSR1);
    program.stderr.wait_for("SIGUSR1");
    assert_eq!(program.children(), workers);
    assert_eq!(program.stderr.count(&format!("pid {}", workers[0])), 1, "{:#?}", program.stderr.all());
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}
