//! Signals that are no stop, what is in place at the start, and what workers get of it.

mod support;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use support::before_exec::{blocking, ignoring};
use support::pid_1::as_pid_1;
use support::session::Session;
use support::upgrading::Upgrading;
use support::{
    Program, Signal, children_of, clean_command, fixture, moments, own_path, send, state_of, status_of, until, words,
};

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

/// Promise 6, as far as signals go. An empty handler takes the place of the default action of three, which exec(2) gives
/// back.
#[test]
fn a_worker_sees_the_mask_and_dispositions_it_would_have_had_without_us_but_does_not_die_of_what_is_sent_to_all() {
    let starts: [fn(&mut Command) -> &mut Command; 4] = [
        |command| command,
        |command| blocking(command, [Signal::SIGTERM, Signal::SIGUSR2, Signal::SIGCHLD, Signal::SIGALRM]),
        |command| ignoring(command, [Signal::SIGCHLD, Signal::SIGPROF]),
        |command| {
            let ignored =
                [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGUSR1];
            ignoring(blocking(command, [Signal::SIGINT, Signal::SIGPIPE]), ignored)
        },
    ];
    for (number, start) in starts.into_iter().enumerate() {
        let mut plain = Program::start(start(fixture("shows-signals").arg("plain")));
        assert_eq!(plain.exit_code(), 0, "start {number}: {:#?}", plain.stderr.all());
        let expected = with_three_caught(plain.stdout.all());
        assert!(!expected.is_empty());
        let mut program = Program::start(start(&mut fixture("shows-signals")));
        assert_eq!(program.exit_code(), 0, "start {number}: {:#?}", program.stderr.all());
        let shown = program.stdout.all();
        let (worker, replacement) = shown.split_at(expected.len());
        assert_eq!(worker, expected, "start {number}");
        assert_eq!(replacement, expected, "start {number}");
    }
}

/// What a process without prefork has shown of itself, with the three caught where they were not ignored.
fn with_three_caught(shown: Vec<String>) -> Vec<String> {
    let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    let ignored = shown.iter().find_map(|line| line.strip_prefix("own SigIgn:\t")).map(number).expect("a field");
    let three = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2].map(|signal| 1 << (signal as u64 - 1));
    let three: u64 = three.into_iter().filter(|bit| ignored & bit == 0).sum();
    let line = |line: String| match line.strip_prefix("own SigCgt:\t") {
        Some(caught) => format!("own SigCgt:\t{:016x}", number(caught) | three),
        None => line,
    };
    shown.into_iter().map(line).collect()
}

/// `pidof`, `systemctl kill` without `--kill-whom=main`.
#[test]
fn what_is_sent_to_every_process_of_the_service_ends_no_worker() {
    let mut program = Session::start(&mut fixture("sleeps"));
    for (signal, answer) in [
        (Signal::SIGUSR1, "passed on to 3 workers"),
        (Signal::SIGHUP, ": 3 workers were replaced"),
        (Signal::SIGUSR2, "upgrade done"),
    ] {
        let workers = program.wait_for_children(3);
        workers.iter().for_each(|&worker| send(worker, signal));
        program.signal(signal);
        program.stderr.wait_for(answer);
    }
    program.stop();
    assert_eq!(program.stderr.count("killed by SIGUSR") + program.stderr.count("killed by SIGHUP"), 0);
    assert_eq!(program.stderr.count("/100)"), 0, "{:#?}", program.stderr.all());
    program.wait_until_empty();
}

/// What would end the supervisor, and the pool with it.
fn refused() -> Vec<(i32, String)> {
    let named = [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGXCPU, libc::SIGXFSZ];
    let name = |number| Signal::try_from(number).expect("a signal").to_string();
    let mut signals: Vec<(i32, String)> = named.map(|number| (number, name(number))).into();
    if cfg!(target_os = "linux") {
        signals.extend([libc::SIGIO, libc::SIGPWR, libc::SIGSTKFLT].map(|number| (number, name(number))));
        signals.extend(
            [(0, ""), (1, "+1"), (30, "+30")].map(|(nth, plus)| (libc::SIGRTMIN() + nth, format!("SIGRTMIN{plus}"))),
        );
    }
    signals
}

/// kill(2), for signals that nix does not know too.
fn send_number(pid: i32, signal: i32) {
    // SAFETY: kill(2) takes any two numbers and touches no memory.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "signal {signal} to {pid}");
}

#[test]
fn a_signal_that_would_end_the_supervisor_is_refused_with_one_line() {
    let mut program = Session::start(&mut fixture("sleeps"));
    let workers = program.wait_for_children(3);
    let by = std::process::id();
    for (number, name) in refused() {
        for _ in 0..3 {
            send_number(program.pid(), number);
        }
        program.stderr.wait_for(&format!("{name} from pid {by} is refused: "));
        // An answer, after which there would be another line.
        send_number(program.pid(), number);
        program.signal(Signal::SIGUSR1);
        program.stderr.wait_for_nth("passed on to 3 workers", 1);
        assert_eq!(program.stderr.count(&format!("{name} from")), 1, "{:#?}", program.stderr.all());
    }
    assert_eq!(program.children(), workers);
    program.stop();
}

#[test]
fn a_worker_dies_of_what_the_supervisor_refuses() {
    let program = Session::start(fixture("sleeps").env("PREFORK_WORKERS", "1"));
    for (nth, (number, name)) in refused().into_iter().enumerate() {
        program.stdout.wait_for_nth("task 0", nth + 1);
        send_number(program.wait_for_children(1)[0], number);
        program.stderr.wait_for(&format!("killed by {name} after"));
    }
}

/// From a timer gone wild, say.
#[test]
fn refused_signals_without_end_hide_no_stop_and_flood_no_log() {
    for number in [libc::SIGALRM, libc::SIGRTMIN()] {
        let mut program = Session::start(&mut fixture("sleeps"));
        let pid = program.pid();
        program.wait_for_children(3);
        let sender = Endless::send_with(move || send_number(pid, number));
        program.stderr.wait_for("is refused");
        for signal in [Signal::SIGUSR1, Signal::SIGTTIN] {
            program.signal(signal);
        }
        program.signal(Signal::SIGTERM);
        until("the supervisor ends", || (state_of(pid) == Some('Z')).then_some(()));
        drop(sender);
        assert_eq!(program.exit_code(), 0);
        // One a minute.
        assert!(program.stderr.count("is refused") <= 2, "{:#?}", program.stderr.all());
    }
}

fn before_the_pool(story: &str) -> Command {
    let mut command = fixture("before-the-pool");
    command.arg(story);
    command
}

/// A program that waits before its pool as long as what is returned lives.
fn waiting(command: &mut Command) -> (Session, UnixStream) {
    let (reader, writer) = UnixStream::pair().expect("a pair");
    let program = Session::start(command.stdin(OwnedFd::from(reader)));
    command.stdin(Stdio::null());
    program.stdout.wait_for("before the pool");
    (program, writer)
}

#[test]
fn a_stop_before_the_pool_ends_the_program_at_once_with_status_0_and_one_line() {
    for story in ["waits", "builds-two"] {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
            let (mut program, _waits) = waiting(&mut before_the_pool(story));
            program.signal(signal);
            assert_eq!(program.exit_code(), 0);
            let by = std::process::id();
            let line = format!(
                "prefork: {signal} from pid {by}: stopped before any worker was started: exiting with status 0"
            );
            assert_eq!(program.stderr.all(), [line]);
            assert_eq!(program.stdout.count("task"), 0);
        }
    }
}

#[test]
fn a_stop_before_the_pool_ends_pid_1_too() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let command = as_pid_1(&before_the_pool("waits"));
        let mut command = skip_unless!(command, "unshare(1) may not make a PID namespace");
        let (mut program, _waits) = waiting(&mut command);
        send(program.wait_for_children(1)[0], signal);
        assert_eq!(program.exit_code(), 0);
        program
            .stderr
            .wait_for(&format!("{signal} from outside this container: stopped before any worker was started"));
    }
}

/// Promise 4.
#[test]
fn what_is_asked_of_the_pool_before_it_is_there_is_answered_once_it_is() {
    let (mut program, waits) = waiting(&mut before_the_pool("waits"));
    let by = std::process::id();
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        program.signal(signal);
    }
    until("they are delivered", || (status_of(program.pid(), "ShdPnd") == "0".repeat(16)).then_some(()));
    drop(waits);
    program.stderr.wait_for(&format!("SIGUSR1 from pid {by}: passed on to "));
    program.stderr.wait_for("upgrade done");
    for asks in ["SIGHUP", "SIGUSR1", "SIGUSR2"] {
        assert_eq!(program.stderr.count(&format!("{asks} from pid {by}")), 1, "{:#?}", program.stderr.all());
    }
    program.stop();
}

/// Promise 4.
#[test]
fn no_signal_is_lost_or_answered_twice_while_the_pool_takes_the_signals_over() {
    for moment in moments().take(60) {
        let mut program = Session::start(&mut before_the_pool("waits"));
        program.stdout.wait_for("before the pool");
        std::thread::sleep(Duration::from_micros(moment % 3000));
        program.signal(Signal::SIGUSR1);
        program.stderr.wait_for("SIGUSR1 from pid");
        program.stop();
        assert_eq!(program.stderr.count("SIGUSR1 from pid"), 1, "{:#?}", program.stderr.all());
    }
}

#[test]
fn a_signal_ends_a_process_that_preload_forks_as_it_would_without_us() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        let mut program = Session::start(&mut before_the_pool("forks"));
        let line = program.stdout.wait_for("child ");
        send(line["child ".len()..].parse().expect("a process id"), signal);
        program.stdout.wait_for(&format!(", {signal}, false)"));
        program.stdout.wait_for("before the pool");
        program.stderr.wait_for("ready after");
        program.stop();
    }
}

#[test]
fn a_command_that_preload_runs_has_the_mask_and_dispositions_of_any_other() {
    let mut plain = Program::start(clean_command("grep").args(["SigBlk\\|SigCgt", "/proc/self/status"]));
    assert_eq!(plain.exit_code(), 0);
    let mut program = Session::start(&mut before_the_pool("runs-a-command"));
    program.stdout.wait_for("before the pool");
    let shown = program.stdout.all();
    assert_eq!(shown[..4], [plain.stdout.all(), plain.stdout.all()].concat());
    program.stderr.wait_for("ready after");
    program.stop();
}

#[test]
fn a_handler_of_the_program_s_own_stays_in_place_before_the_pool_and_in_workers() {
    let (mut program, waits) = waiting(&mut before_the_pool("catches-sigterm"));
    program.signal(Signal::SIGTERM);
    program.stdout.wait_for("own handler");
    drop(waits);
    program.stdout.wait_for_nth("task", 2);
    let worker = program.children()[0];
    send(worker, Signal::SIGTERM);
    program.stdout.wait_for_nth("own handler", 2);
    assert_eq!(program.stderr.count("SIGTERM"), 0, "{:#?}", program.stderr.all());
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping 2 workers");
    program.signal(Signal::SIGQUIT);
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn signals_are_given_back_when_no_pool_comes_of_it() {
    let mut program = Session::start(&mut before_the_pool("starts-nothing"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.all(), ["owned 6", "owned 6", "owned 6", "owned 0", "owned 0"]);
}

#[test]
fn a_stop_signal_ignored_at_entry_ends_nothing_before_the_pool() {
    let ignored = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT];
    let (program, waits) = waiting(ignoring(&mut before_the_pool("waits"), ignored));
    for signal in ignored {
        program.signal(signal);
    }
    drop(waits);
    program.stdout.wait_for_nth("task", 2);
}

/// The second address is in use, so the start takes two seconds, and fails.
#[test]
fn a_stop_during_the_start_leaves_no_file_of_a_socket() {
    let path = own_path("socket");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let taken = taken.local_addr().expect("an address").to_string();
    let mut command = before_the_pool("listens");
    let mut program = Session::start(command.arg(format!("unix:{}", path.display())).arg(taken));
    until("the file is there", || path.exists().then_some(()));
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    program.stderr.wait_for("stopped before any worker was started: exiting with status 0");
    assert!(!path.exists());
}

#[test]
fn pid_1_is_ended_by_a_stop_signal_without_a_pool_too() {
    for mode in ["off", "check"] {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let command = as_pid_1(&before_the_pool("waits"));
            let mut command = skip_unless!(command, "unshare(1) may not make a PID namespace");
            let (mut program, waits) = waiting(command.env("PREFORK", mode));
            if mode == "off" {
                drop(waits);
                program.stdout.wait_for("task 0");
            }
            send(program.wait_for_children(1)[0], signal);
            assert_eq!(program.exit_code(), 128 + signal as i32);
        }
    }
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

#[test]
fn a_stopped_worker_is_neither_ended_nor_replaced() {
    let mut program = Session::start(&mut fixture("sleeps"));
    let workers = program.wait_for_children(3);
    send(workers[0], Signal::SIGSTOP);
    until("the worker is stopped", || (state_of(workers[0]) == Some('T')).then_some(()));
    // Whatever the supervisor made of it, it has done when it answers this.
    program.signal(Signal::SIGUSR1);
    program.stderr.wait_for("SIGUSR1");
    assert_eq!(program.children(), workers);
    assert_eq!(program.stderr.count(&format!("pid {}", workers[0])), 0, "{:#?}", program.stderr.all());
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}
