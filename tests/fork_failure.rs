//! Promise 8: a fork that fails is retried with delay and counted; slots are never lost.

mod support;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use support::before_exec::{before_exec, without_fork};
use support::lives::nth_worker;
use support::session::Session;
use support::{Signal, send};

fn start(command: &mut Command) -> Option<Session> {
    Session::start_as_nobody_else(command, Stdio::piped())
}

/// By task id, each of which has begun.
fn first_workers(program: &Session) -> [i32; 3] {
    [0, 1, 2].map(|task_id| nth_worker(program, task_id, 1))
}

#[test]
fn a_fork_that_fails_at_the_start_stops_what_was_started() {
    if !geteuid().is_root() {
        skip!("only root can be a user that has no other process");
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).expect("a limit");
    let mut command = fixture!("sleeps");
    // The supervisor and two workers.
    before_exec(&mut command, move || Ok(setrlimit(Resource::RLIMIT_NPROC, 3, hard)?));
    let mut program = skip_unless!(start(&mut command), "others may not run what was built here");
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.wait_until_empty();
    let lines = program.stderr.all();
    assert_eq!(program.stderr.count("killed by SIGTERM"), 2, "{lines:#?}");
    let last = lines.last().expect("lines");
    for words in ["cannot fork: ", "the workers already started were stopped", "ulimit -u", "ask for fewer workers"] {
        assert!(last.contains(words), "{words:?} is not in {last:?}");
    }
}

#[test]
fn a_first_fork_that_fails_is_the_end() {
    let mut program = Session::start(without_fork(&mut fixture!("sleeps")));
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.stderr.wait_for("cannot fork: Cannot allocate memory");
    program.wait_until_empty();
}

#[test]
fn a_fork_that_fails_is_retried_with_delay_and_counted_and_its_slot_is_not_lost() {
    let mut command = fixture!("sleeps");
    command.env("PREFORK_BACKOFF", "20ms..500ms");
    let mut program = skip_unless!(start(&mut command), "others may not run what was built here");
    let workers = first_workers(&program);
    program.limit_processes("1");
    send(workers[1], Signal::SIGKILL);
    program.stderr.wait_for("killed by SIGKILL");
    let line = program.stderr.wait_for("worker 1 cannot be forked: ");
    assert!(line.contains("; trying again in 100ms (2/100); check the limits on processes"), "{line}");
    program.stderr.wait_for("(4/100)");
    assert_eq!(program.children().len(), 2);
    program.limit_processes_as_usual();
    program.stderr.wait_for("started, restart 1 of it");
    let now = program.wait_for_children(3);
    assert!(now.contains(&workers[0]) && now.contains(&workers[2]), "{workers:?} became {now:?}");
    program.stdout.wait_for_nth("task 1 pid", 2);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

#[test]
fn forks_that_go_on_failing_use_the_restarts_up() {
    let mut command = fixture!("sleeps");
    command.env("PREFORK_BACKOFF", "1ms..1ms").env("PREFORK_MAX_RESTARTS", "3");
    let mut program = skip_unless!(start(&mut command), "others may not run what was built here");
    let workers = first_workers(&program);
    program.limit_processes("1");
    send(workers[2], Signal::SIGKILL);
    assert_eq!(program.exit_code(), 1);
    assert_eq!(program.stderr.count("cannot be forked"), 3, "{:#?}", program.stderr.all());
    program.stderr.wait_for("giving up: 3 of 3 restarts are used");
    assert_eq!(program.stderr.count("killed by SIGTERM"), 2);
    program.wait_until_empty();
}

#[test]
fn a_stop_is_answered_while_forks_fail() {
    let mut command = fixture!("sleeps");
    command.env("PREFORK_BACKOFF", "1h");
    let mut program = skip_unless!(start(&mut command), "others may not run what was built here");
    let workers = first_workers(&program);
    program.limit_processes("1");
    send(workers[0], Signal::SIGKILL);
    program.stderr.wait_for("cannot be forked");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}
