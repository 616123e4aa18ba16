//! Signals between `Prefork::new()` and the pool.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::skip_unless;
use crate::support::before_exec::ignoring;
use crate::support::pid_1::as_pid_1;
use crate::support::session::Session;
use crate::support::{Program, Signal, clean_command, fixture, moments, own_path, send, status_of, until};

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
    // On a machine where the stop comes later than those two seconds, once more.
    until("the stop is in time", || {
        let mut command = before_the_pool("listens");
        let mut program = Session::start(command.arg(format!("unix:{}", path.display())).arg(&taken));
        until("the file is there, or was", || {
            (path.exists() || program.stderr.count("cannot listen") > 0).then_some(())
        });
        program.signal(Signal::SIGTERM);
        let code = program.exit_code();
        assert!(!path.exists());
        (code == 0).then(|| program.stderr.wait_for("stopped before any worker was started: exiting with status 0"))
    });
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
