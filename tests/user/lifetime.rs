//! No worker of another user outlives its supervisor.

use std::time::Duration;

use crate::support::session::Session;
use crate::support::{Program, Signal, fixture, moments, send, stat_of, until};
use crate::{only_root, stop};

/// What its session and group are the leader of, the supervisor ends as a whole.
#[test]
fn workers_of_another_user_lead_sessions_and_others_groups() {
    only_root!();
    for (user, has_session) in [("none", false), ("nobody", true)] {
        let mut program = Session::start(fixture("runs-as-nobody").env("PREFORK_USER", user));
        program.stdout.wait_for_nth("body task", 2);
        for worker in program.wait_for_children(2) {
            let stat = stat_of(worker).expect("it is alive");
            let (group, session) = (&stat[2], &stat[3]);
            assert_eq!(*group, worker.to_string(), "{user}");
            assert_eq!(*session == worker.to_string(), has_session, "{user}");
        }
        stop(&mut program);
    }
}

#[test]
fn no_worker_of_another_user_outlives_its_supervisor() {
    only_root!();
    let program = Session::start(&mut fixture("runs-as-nobody"));
    program.stdout.wait_for_nth("body", 2);
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}

#[test]
fn no_worker_of_another_user_outlives_its_supervisor_at_whatever_moment_of_its_start() {
    only_root!();
    for moment in moments().take(40) {
        let mut command = fixture("ignores-term");
        let program = Session::start(command.env("PREFORK_WORKERS", "12").env("PREFORK_USER", "nobody"));
        std::thread::sleep(Duration::from_micros(moment % 8000));
        program.signal(Signal::SIGKILL);
        program.wait_until_empty();
    }
}

/// Kills the supervisor and waits until the worker has another parent.
fn orphan(program: &Program, worker: i32) {
    program.signal(Signal::SIGKILL);
    let supervisor = program.pid().to_string();
    until("the worker has another parent", || stat_of(worker).is_none_or(|stat| stat[1] != supervisor).then_some(()));
}

#[test]
fn a_worker_that_changes_its_user_itself_shares_its_supervisor_s_death_after_rearm() {
    only_root!();
    let program = Session::start(fixture("changes-its-user").arg("rearm"));
    program.stdout.wait_for("body task 0 ");
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
    assert_eq!(program.stdout.count("told to stop"), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_changes_its_user_itself_outlives_its_supervisor_without_rearm() {
    only_root!();
    let program = Session::start(fixture("changes-its-user").arg("no-rearm"));
    program.stdout.wait_for("body task 0 ");
    let worker = program.wait_for_children(1)[0];
    orphan(&program, worker);
    // Who has a SIGKILL pending says nothing any more.
    send(worker, Signal::SIGTERM);
    program.stdout.wait_for("told to stop");
    program.wait_until_empty();
}

#[test]
#[cfg(target_os = "linux")]
fn rearm_ends_a_worker_whose_supervisor_is_gone() {
    only_root!();
    let program = Session::start(fixture("changes-its-user").arg("rearm-when-told"));
    program.stdout.wait_for("waits");
    let worker = program.wait_for_children(1)[0];
    orphan(&program, worker);
    send(worker, Signal::SIGTERM);
    program.wait_until_empty();
    program.stderr.wait_for(&format!("pid {worker} ends: its supervisor, pid {}, is gone", program.pid()));
    assert_eq!(program.stdout.count("still there"), 0);
}

#[test]
fn rearm_refuses_a_process_that_a_worker_made() {
    only_root!();
    let mut program = Session::start(fixture("changes-its-user").arg("rearm-in-a-child"));
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("only a worker shares its supervisor's death");
}

#[test]
fn rearm_does_nothing_without_a_supervisor() {
    only_root!();
    let mut program = Session::start(fixture("changes-its-user").arg("rearm").env("PREFORK", "off"));
    program.stdout.wait_for("body task 0 ");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}
