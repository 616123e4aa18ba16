//! When a worker counts as ready, and what becomes of one that does not.

mod support;

use std::fs;

use support::lives::{WAYS, Way, let_go_on, lives, nth_worker, settle, start};
use support::session::Session;
use support::{Signal, is_alive, own_path, send};

/// Stops the pool.
fn stop(mut program: Session) {
    program.stop();
    assert_eq!(program.stderr.count("had to be killed"), 0, "{:#?}", program.stderr.all());
    program.wait_until_empty();
}

#[test]
fn the_pool_is_ready_once_when_all_have_said_so() {
    for way in WAYS {
        let mut command = way.lives([("ready_timeout", "1h"), ("workers", "3")], ["read", "ready"]);
        if way == Way::Environment {
            command.arg("--ready_timeout=2h");
        }
        let (program, writer) = start(&mut command);
        let_go_on(&writer, 2);
        program.stdout.wait_for_nth("says that it is ready", 2);
        settle(&program);
        assert_eq!(program.stderr.count("ready"), 0, "{:#?}", program.stderr.all());
        let_go_on(&writer, 1);
        let line = program.stderr.wait_for("prefork: all 3 workers are ready after ");
        assert!(line.ends_with('s'), "{line}");
        // A worker prints this after the supervisor has heard it: none may be killed in between.
        program.stdout.wait_for_nth("says that it is ready", 3);

        // Once is enough: the next time is a restart.
        send(nth_worker(&program, 1, 1), Signal::SIGKILL);
        nth_worker(&program, 1, 2);
        let_go_on(&writer, 1);
        program.stdout.wait_for_nth("says that it is ready", 4);
        settle(&program);
        assert_eq!(program.stderr.count("are ready after"), 1);
        stop(program);
    }
}

#[test]
fn one_worker_is_the_worker() {
    let program = Session::start(&mut Way::Builder.lives([("ready_timeout", "1h"), ("workers", "1")], ["ready"]));
    program.stderr.wait_for("prefork: the worker is ready after ");
    stop(program);
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_killed_replaced_and_counted() {
    // At the same time, so that only that worker is late, however slow the machine is.
    let programs = WAYS.map(|way| {
        let steps = ["worker=0", "before-restart=1", "ignore", "wait", "worker=0", "ready", "worker=1", "ready"];
        let mut command = way.lives([("ready_timeout", "10s"), ("max_restarts", "50")], steps);
        if way == Way::Environment {
            command.arg("--ready_timeout=1h");
        }
        Session::start(&mut command)
    });
    for program in programs {
        let late = nth_worker(&program, 0, 1);
        program.stderr.wait_for(&format!("worker 0 (pid {late}) is not ready after 10s (ready_timeout): killing it"));
        let line = program.stderr.wait_for("was not ready in time and was killed after ");
        assert!(line.contains(&format!("worker 0 (pid {late}) was not ready")), "{line}");
        assert!(line.ends_with(", restarting (1/50)"), "{line}");
        assert!(!is_alive(late));
        program.stderr.wait_for("all 2 workers are ready after ");
        stop(program);
    }
}

#[test]
fn a_pool_that_is_never_ready_in_time_gives_up() {
    let mut program = Session::start(&mut Way::Builder.lives([("ready_timeout", "100ms")], ["wait"]));
    assert_eq!(program.exit_code(), 1);
    program.stderr.wait_for("was not ready in time and was killed after ");
    let last = program.stderr.all().pop().expect("lines");
    assert!(last.contains("cannot boot"), "{last}");
    program.wait_until_empty();
}

/// Programs forget the call when they have just been given the option.
#[test]
fn a_missing_call_of_ready_is_named_first() {
    let mut program = Session::start(&mut Way::Builder.lives([("ready_timeout", "100ms")], ["wait"]));
    assert_eq!(program.exit_code(), 1);
    let line = program.stderr.wait_for("is not ready after 100ms (ready_timeout): killing it");
    assert!(line.contains("killing it; it has not called Worker::ready()"), "{line}");
    let last = program.stderr.all().pop().expect("lines");
    assert!(last.contains("; check that it calls Worker::ready(), what it printed"), "{last}");
    program.wait_until_empty();
}

#[test]
fn without_ready_timeout_a_worker_is_ready_when_its_body_starts() {
    let program = Session::start(&mut lives([]));
    program.stderr.wait_for("all 2 workers are ready after ");
    stop(program);
}

#[test]
fn without_ready_timeout_a_worker_is_ready_when_its_hooks_are_done() {
    for way in [Way::Attribute, Way::Builder] {
        let (program, writer) = start(&mut way.lives([], ["hook:read"]));
        program.wait_for_children(2);
        let_go_on(&writer, 1);
        program.stdout.wait_for("task ");
        settle(&program);
        assert_eq!(program.stderr.count("ready"), 0, "{:#?}", program.stderr.all());
        let_go_on(&writer, 1);
        program.stderr.wait_for("all 2 workers are ready after ");
        program.stdout.wait_for_nth("task ", 2);
        stop(program);
    }
}

#[test]
fn with_ready_timeout_the_end_of_the_hooks_says_nothing() {
    let mut command = Way::Builder.lives([("ready_timeout", "1h")], ["hook:beat", "read", "ready"]);
    let (program, writer) = start(&mut command);
    program.stdout.wait_for_nth("task ", 2);
    settle(&program);
    assert_eq!(program.stderr.count("ready"), 0, "{:#?}", program.stderr.all());
    let_go_on(&writer, 2);
    program.stderr.wait_for("all 2 workers are ready after ");
    stop(program);
}

#[test]
fn the_environment_switches_ready_timeout_off_and_does_not_switch_it_on() {
    // No worker says that it is ready.
    let mut off = Way::Builder.lives([("ready_timeout", "100ms")], []);
    let program = Session::start(off.env("PREFORK_READY_TIMEOUT", "none"));
    program.stderr.wait_for("all 2 workers are ready after ");
    stop(program);

    let program = Session::start(&mut Way::Environment.lives([("ready_timeout", "100ms")], []));
    program.stderr.wait_for("PREFORK_READY_TIMEOUT is ignored: this program does not announce readiness");
    program.stderr.wait_for("all 2 workers are ready after ");
    stop(program);
}

#[test]
fn a_worker_that_says_again_that_it_is_ready_changes_nothing() {
    for options in [&[][..], &["--ready_timeout=1h"]] {
        let program = Session::start(lives(["ready", "ready", "ready"]).args(options));
        program.stdout.wait_for_nth("says that it is ready", 6);
        program.stderr.wait_for("all 2 workers are ready after ");
        settle(&program);
        assert_eq!(program.stderr.count("ready"), 1, "{:#?}", program.stderr.all());
        stop(program);
    }
    for way in [Way::Attribute, Way::Builder] {
        let mut command = way.lives([("ready_timeout", "100ms")], ["ready", "ready", "return=3"]);
        let mut program = Session::start(command.env("PREFORK", "off"));
        assert_eq!(program.exit_code(), 3);
        assert_eq!(program.stdout.count("says that it is ready"), 2);
        assert_eq!(program.stderr.all().len(), 1, "{:#?}", program.stderr.all());
    }
}

#[test]
fn a_process_that_a_worker_forked_says_nothing_for_it() {
    // Where the worker has said something before, and where it has not.
    for first in [&["beat"][..], &[]] {
        let steps = [&["--ready_timeout=1h", "--workers=1"], first, &["child", "read", "ready", "read", "recycle"]];
        let (program, writer) = start(lives([]).args(steps.concat()));
        program.stdout.wait_for("a child of task 0 says everything");
        settle(&program);
        assert_eq!(program.stderr.count("ready") + program.stderr.count("recycling"), 0, "{:#?}", program.stderr.all());
        let_go_on(&writer, 1);
        program.stderr.wait_for("the worker is ready after ");
        settle(&program);
        assert_eq!(program.stderr.count("recycling"), 0, "{:#?}", program.stderr.all());
        let_go_on(&writer, 1);
        program.stderr.wait_for("recycling worker 0");
        stop(program);
    }
}

/// Its end of the wake pipe is closed, so the supervisor learns of it when the time is over, and looks before it kills.
#[test]
fn a_worker_that_closed_all_its_descriptors_is_ready_nevertheless_and_its_files_get_no_stray_byte() {
    let file = own_path("in-place");
    let files = format!("files={}", file.display());
    let program =
        Session::start(&mut Way::Builder.lives([("ready_timeout", "10s"), ("workers", "1")], [&files, "ready"]));
    program.stderr.wait_for("prefork: the worker is ready after ");
    settle(&program);
    assert_eq!(fs::read(&file).expect("the worker made it"), b"");
    assert_eq!(program.stderr.count("killing"), 0);
    assert_eq!(program.stderr.count("restarting"), 0);
    let worker = nth_worker(&program, 0, 1);
    stop(program);
    assert!(!is_alive(worker));
    fs::remove_file(file).expect("it is there");
}
