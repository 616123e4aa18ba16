//! Promise 8: a fork that fails is retried with delay; no slot is lost.

mod support;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use support::before_exec::{before_exec, without_call, without_fork};
use support::lives::nth_worker;
use support::pids_cgroup::PidsCgroup;
use support::session::Session;
use support::{Signal, fixture, send, status_of, until};

fn start(command: &mut Command) -> Option<Session> {
    Session::start_as_a_user_of_its_own(command, Stdio::piped())
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
    let mut command = fixture("sleeps");
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
    let mut program = Session::start(without_fork(&mut fixture("sleeps")));
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.stderr.wait_for("cannot fork: Cannot allocate memory");
    program.wait_until_empty();
}

#[test]
fn a_start_that_fails_names_the_call_and_advice_fits() {
    for (call, error, line) in [
        (
            libc::SYS_pipe2,
            libc::EMFILE,
            "prefork: pipe(2) failed: Too many open files (os error 24); raise the limit of",
        ),
        (
            libc::SYS_signalfd4,
            libc::ENOSYS,
            "prefork: signalfd(2) failed: Function not implemented (os error 38); a seccomp",
        ),
    ] {
        let mut program = Session::start(without_call(&mut fixture("sleeps"), call, error));
        assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
        let last = program.stderr.all().pop().expect("a line");
        assert!(last.starts_with(line), "{last}");
        program.wait_until_empty();
    }
}

#[test]
fn a_worker_that_cannot_be_prepared_names_the_call() {
    let mut command = fixture("sleeps");
    command.env("PREFORK_MAX_RESTARTS", "0");
    let mut program = Session::start(without_call(&mut command, libc::SYS_prctl, libc::EPERM));
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.stderr.wait_for("worker 0 cannot be prepared: prctl(2) failed: Operation not permitted");
    program.wait_until_empty();
}

/// Kills worker 1 of three while no process can be made, until `allow` lets the system make them again after several
/// refusals. One restart is all there is: a refused fork that counted would end the pool.
fn outlives_refusals(mut program: Session, forbid: impl FnOnce(&Session), allow: impl FnOnce(&Session)) {
    let workers = first_workers(&program);
    forbid(&program);
    send(workers[1], Signal::SIGKILL);
    program.stderr.wait_for("killed by SIGKILL");
    let line = program.stderr.wait_for("worker 1 cannot be forked: Resource temporarily unavailable");
    assert!(line.contains("this is not counted as long as a worker lives; check the limits on processes"), "{line}");
    let woken = wakeups(&program);
    until("it has tried several times", || (wakeups(&program) >= woken + 5).then_some(()));
    assert_eq!(program.children().len(), 2);
    allow(&program);
    let line = program.stderr.wait_for("forking succeeds again, and no fork is pending: the system refused ");
    let refused = line.split("refused ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a count");
    assert!(refused.parse::<usize>().expect("a number") >= 3, "{line}");
    program.stderr.wait_for("started, restart 1 of it");
    let now = program.wait_for_children(3);
    assert!(now.contains(&workers[0]) && now.contains(&workers[2]), "{workers:?} became {now:?}");
    program.stdout.wait_for_nth("task 1 pid", 2);
    assert_eq!(program.stderr.count("cannot be forked"), 1, "{:#?}", program.stderr.all());
    program.stop();
    program.wait_until_empty();
}

/// How often the supervisor has waited, which it does between two tries.
fn wakeups(program: &Session) -> u64 {
    status_of(program.pid(), "voluntary_ctxt_switches").parse().expect("a number")
}

#[test]
fn a_fork_that_the_system_refuses_is_retried_uncounted_while_a_worker_lives_and_its_slot_is_not_lost() {
    let mut command = fixture("sleeps");
    command.env("PREFORK_MAX_RESTARTS", "1");
    let program = skip_unless!(start(&mut command), "others may not run what was built here");
    outlives_refusals(program, |program| program.limit_processes("1"), Session::limit_processes_as_usual);
}

#[test]
fn a_full_pids_cgroup_ends_no_pool() {
    let group = skip_unless!(PidsCgroup::new(), "this user may not make a control group with a limit on processes");
    let mut command = fixture("sleeps");
    command.env("PREFORK_MAX_RESTARTS", "1");
    let program = Session::start(&mut command);
    let forbid = |program: &Session| {
        group.add(program.pid());
        group.limit("1");
    };
    outlives_refusals(program, forbid, |_| group.limit("max"));
}

#[test]
fn forks_that_are_refused_while_no_worker_lives_use_the_restarts_up() {
    let mut command = fixture("sleeps");
    command.env("PREFORK_MAX_RESTARTS", "5");
    let mut program = skip_unless!(start(&mut command), "others may not run what was built here");
    let workers = first_workers(&program);
    program.limit_processes("1");
    for (nth, worker) in (1..).zip(workers) {
        send(worker, Signal::SIGKILL);
        program.stderr.wait_for_nth("killed by SIGKILL", nth);
    }
    assert_eq!(program.exit_code(), 1);
    program.stderr.wait_for("no worker is left, so each try counts (4/5)");
    program.stderr.wait_for("giving up: 5 of 5 restarts are used");
    let lines = program.stderr.count("cannot be forked");
    assert_eq!(lines, 3, "the first, the first that counts, and the last: {:#?}", program.stderr.all());
    program.wait_until_empty();
}

#[test]
fn a_stop_is_answered_while_forks_fail() {
    let mut command = fixture("sleeps");
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
