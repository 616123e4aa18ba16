//! As PID 1, as a subreaper, with children that were there before: strange children are reaped, and that is all.

mod support;
use std::fs;

use support::before_exec::before_exec;
use support::pid_1::as_pid_1;
use support::session::Session;
use support::{Program, Signal, children_of, fixture, send, until};

fn wait_until_reaped(pid: i32) {
    until(&format!("{pid} is reaped"), || (!fs::exists(format!("/proc/{pid}")).expect("/proc")).then_some(()));
}

fn orphans_of(supervisor: i32) -> Vec<i32> {
    let name = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    children_of(supervisor).into_iter().filter(|&pid| name(pid) == "sleep\n").collect()
}

fn strangers_are_reaped_and_otherwise_ignored(program: &Program, supervisor: i32) {
    program.stdout.wait_for_nth("orphan", 2);
    let orphans = until("the orphans were adopted", || Some(orphans_of(supervisor)).filter(|all| all.len() == 2));
    let workers: Vec<i32> = children_of(supervisor).into_iter().filter(|pid| !orphans.contains(pid)).collect();
    assert_eq!(workers.len(), 2);
    for orphan in orphans {
        send(orphan, Signal::SIGKILL);
        wait_until_reaped(orphan);
    }
    assert_eq!(children_of(supervisor), workers);
    // That it starts, and that all are ready.
    program.stderr.wait_for("ready after");
    assert_eq!(program.stderr.count(""), 2, "{:#?}", program.stderr.all());
    send(supervisor, Signal::SIGTERM);
}

#[test]
fn pid_1_answers_sigterm() {
    let mut command = skip_unless!(as_pid_1(&fixture("sleeps")), "unshare(1) may not make a PID namespace");
    let mut program = Program::start(&mut command);
    program.stdout.wait_for_nth("task", 3);
    let supervisor = program.wait_for_children(1)[0];
    send(supervisor, Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stderr.count("killed by SIGTERM after"), 3);
}

#[test]
fn pid_1_is_not_wedged_by_a_stop_key() {
    let mut command = skip_unless!(as_pid_1(&fixture("sleeps")), "unshare(1) may not make a PID namespace");
    let mut program = Program::start(&mut command);
    program.stdout.wait_for_nth("task", 3);
    let supervisor = program.wait_for_children(1)[0];
    let workers = children_of(supervisor);
    for nth in 1..=3 {
        send(supervisor, Signal::SIGTSTP);
        program.stderr.wait_for_nth("SIGTSTP: suspended", nth);
        // It is read when that is over.
        send(supervisor, Signal::SIGUSR1);
        program.stderr.wait_for_nth("SIGUSR1", nth);
        let run = || workers.iter().all(|&worker| support::state_of(worker) != Some('T')).then_some(());
        until("the workers run", run);
    }
    assert_eq!(children_of(supervisor), workers);
    send(supervisor, Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn pid_1_restarts_and_gives_up_as_any_other() {
    let mut command = skip_unless!(as_pid_1(&fixture("dies-young")), "unshare(1) may not make a PID namespace");
    let mut program = Program::start(command.env("PREFORK_MAX_RESTARTS", "5").env("PREFORK_BACKOFF", "0s"));
    assert_eq!(program.exit_code(), 1);
    assert_eq!(program.stderr.count("restarting"), 5);
}

/// Promise 7.
#[test]
fn strange_children_are_reaped_and_otherwise_ignored_by_pid_1() {
    let mut command = skip_unless!(as_pid_1(&fixture("makes-orphans")), "unshare(1) may not make a PID namespace");
    let mut program = Program::start(&mut command);
    program.stdout.wait_for_nth("orphan", 2);
    let supervisor = program.wait_for_children(1)[0];
    strangers_are_reaped_and_otherwise_ignored(&program, supervisor);
    assert_eq!(program.exit_code(), 0);
}

/// Promise 7.
#[test]
fn strange_children_are_reaped_and_otherwise_ignored_by_a_subreaper() {
    let mut command = fixture("makes-orphans");
    before_exec(&mut command, || Ok(nix::sys::prctl::set_child_subreaper(true)?));
    let mut program = Session::start(&mut command);
    strangers_are_reaped_and_otherwise_ignored(&program, program.pid());
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

/// Promise 7.
#[test]
fn children_made_before_are_reaped_and_otherwise_ignored() {
    let mut program = Session::start(&mut fixture("starts-with-a-zombie"));
    let number = |line: String| line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a process id");
    wait_until_reaped(number(program.stdout.wait_for("zombie")));
    let stranger: i32 = number(program.stdout.wait_for("stranger"));
    program.wait_for_children(3);
    send(stranger, Signal::SIGKILL);
    wait_until_reaped(stranger);
    assert_eq!(program.children().len(), 2);
    // That it starts, and that all are ready.
    program.stderr.wait_for("ready after");
    assert_eq!(program.stderr.count(""), 2, "{:#?}", program.stderr.all());
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}
