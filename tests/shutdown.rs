//! How a worker learns that it is told to stop, and what it then does with the time it has.

mod support;
use std::fs;
use std::process::Stdio;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use support::before_exec::{before_exec, blocking, ignoring};
use support::session::Session;
use support::{Signal, fixture, send, status_of, until};

const WAYS: [&str; 6] = ["flag", "wait", "timeout", "descriptor", "future", "future-in-threads"];

/// The fixture, when both of its workers wait, and their pids.
fn start(way: &str) -> (Session, Vec<i32>) {
    let program = Session::start(fixture("stops-when-told").arg(way));
    program.stdout.wait_for_nth("waits", 2);
    let workers = program.wait_for_children(2);
    (program, workers)
}

/// Stops the pool, of which both workers return.
fn stop(mut program: Session) {
    program.stop();
    assert_eq!(program.stdout.count("returns"), 2, "{:#?}", program.stderr.all());
    assert_eq!(program.stderr.count("killed"), 0, "{:#?}", program.stderr.all());
    program.wait_until_empty();
}

#[test]
fn every_way_to_learn_of_the_stop() {
    for way in WAYS {
        stop(start(way).0);
    }
}

#[test]
fn a_kill_stops_one_worker_alone() {
    for way in WAYS {
        let (program, workers) = start(way);
        send(workers[1], Signal::SIGTERM);
        program.stdout.wait_for(&format!("(pid {}) returns", workers[1]));
        assert_eq!(program.stdout.count("returns"), 1);
        assert!(program.children().contains(&workers[0]));
    }
}

#[test]
fn every_way_without_a_supervisor() {
    for way in WAYS {
        let mut program = Session::start(fixture("stops-when-told").arg(way).env("PREFORK", "off"));
        program.stdout.wait_for(&format!("0 (pid {}) waits", program.pid()));
        program.signal(Signal::SIGTERM);
        assert_eq!(program.exit_code(), 0);
        assert_eq!(program.stdout.count("returns"), 1);
    }
}

#[test]
fn a_worker_that_does_not_ask_ends_at_once() {
    let (mut program, workers) = start("asks-too-late");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.count("returns"), 0);
    for worker in workers {
        program.stderr.wait_for(&format!("(pid {worker}) killed by SIGTERM"));
    }
}

#[test]
fn a_stop_right_after_the_first_call_is_seen() {
    let mut program = Session::start(fixture("stops-when-told").arg("told-at-once").env("PREFORK", "off"));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.count("returns"), 1);
}

#[test]
fn the_argument_is_the_handle_of_the_stop() {
    let program = Session::start(&mut fixture("takes-its-shutdown"));
    program.stdout.wait_for_nth("waits", 2);
    stop(program);
}

#[test]
fn a_worker_that_has_the_argument_has_taken_sigterm_before_its_first_statement() {
    let mut program = Session::start(fixture("takes-its-shutdown").arg("told-at-once").env("PREFORK", "off"));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.count("returns"), 1);
}

#[test]
fn a_worker_that_is_told_goes_on_until_it_returns_however_often_it_is_told() {
    let (mut program, workers) = start("drains");
    program.signal(Signal::SIGTERM);
    program.stdout.wait_for_nth("drains", 2);
    for &worker in &workers {
        (0..3).for_each(|_| send(worker, Signal::SIGTERM));
        send(worker, Signal::SIGUSR1);
    }
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.count("returns"), 2);
    assert_eq!(program.stderr.count("killed"), 0, "{:#?}", program.stderr.all());
}

#[test]
fn a_worker_that_drains_for_too_long_is_killed() {
    let mut command = fixture("stops-when-told");
    let mut program = Session::start(command.arg("drains").env("PREFORK_GRACEFUL_TIMEOUT", "300ms"));
    program.stdout.wait_for_nth("waits", 2);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.count("returns"), 0);
    program.stderr.wait_for("2 had to be killed");
}

#[test]
fn another_signal_is_no_stop() {
    let (program, workers) = start("is-interrupted");
    for nth in 1..=20 {
        send(workers[0], Signal::SIGUSR1);
        program.stdout.wait_for_nth("handler of SIGUSR1", nth);
    }
    assert_eq!(program.stdout.count("returns"), 0);
    stop(program);
}

#[test]
fn handlers_of_others_run_too_whichever_was_first() {
    for way in ["handler-before", "handler-after"] {
        let (program, _) = start(way);
        let stdout = program.stdout.clone();
        stop(program);
        assert_eq!(stdout.count("handler of SIGTERM"), 2, "{way}");
    }
}

#[test]
fn a_stop_arrives_that_was_blocked_or_ignored_at_entry() {
    let mut blocked = fixture("stops-when-told");
    let mut ignored = fixture("stops-when-told");
    for command in [blocking(&mut blocked, [Signal::SIGTERM]), ignoring(&mut ignored, [Signal::SIGTERM])] {
        let mut program = Session::start(command.arg("wait"));
        program.stdout.wait_for_nth("waits", 2);
        program.signal(Signal::SIGINT);
        assert_eq!(program.exit_code(), 0);
        assert_eq!(program.stdout.count("returns"), 2, "{:#?}", program.stderr.all());
    }
}

/// Handlers of the program's own never run there, and find no lock held that it holds.
#[test]
fn the_thread_that_wakes_futures_takes_no_signal() {
    let (program, workers) = start("future");
    let thread = until("the thread has its name", || {
        fs::read_dir(format!("/proc/{}/task", workers[0])).expect("/proc").find_map(|task| {
            let path = task.ok()?.path();
            (fs::read_to_string(path.join("comm")).ok()? == "prefork-sigterm\n").then_some(path)
        })
    });
    let thread: i32 = thread.file_name().and_then(|name| name.to_str()).expect("a number").parse().expect("a number");
    // All but SIGKILL, SIGSTOP, and the two that the C library keeps to itself.
    let blocked = u64::from_str_radix(&status_of(thread, "SigBlk"), 16).expect("a mask");
    for signal in Signal::iterator().filter(|signal| ![Signal::SIGKILL, Signal::SIGSTOP].contains(signal)) {
        assert_ne!(blocked & 1 << (signal as i32 - 1), 0, "{signal}");
    }
    assert_eq!(status_of(workers[0], "SigBlk"), "0".repeat(16));
    stop(program);
}

#[test]
fn a_lack_of_descriptors_is_named_and_the_next_call_tries_again() {
    let (program, workers) = start("without-descriptors");
    for worker in workers {
        program.stderr.wait_for(&format!("(pid {worker}) cannot catch SIGTERM with the two descriptors"));
    }
    stop(program);
}

#[test]
fn a_lack_of_threads_is_named() {
    if !geteuid().is_root() {
        skip!("only root can be a user that has no other process");
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).expect("a limit");
    let mut command = fixture("stops-when-told");
    before_exec(command.arg("future").env("PREFORK", "off"), move || Ok(setrlimit(Resource::RLIMIT_NPROC, 1, hard)?));
    let started = Session::start_as_a_user_of_its_own(&mut command, Stdio::piped());
    let mut program = skip_unless!(started, "others may not run what was built here");
    assert_eq!(program.exit_code(), 101);
    let pid = program.pid();
    program.stderr.wait_for(&format!("worker 0 (pid {pid}) cannot start the thread that waits for SIGTERM"));
}

#[test]
fn a_command_has_neither_the_handler_nor_the_descriptors() {
    let mut program = Session::start(fixture("stops-when-told").arg("runs-a-command"));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.count("returns"), 2);
}

#[test]
fn a_signal_to_a_process_that_a_worker_forked_is_not_the_workers() {
    let mut program = Session::start(fixture("stops-when-told").arg("forks"));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
}
