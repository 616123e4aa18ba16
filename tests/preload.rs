//! `preload` runs once before the first fork, and every worker is lent what it returned.

mod support;
use support::{Program, fixture};

/// It ends with this status, with this on its last line, and has forked nothing.
fn ends_before_the_fork(mut program: Program, code: i32, last: &str) {
    assert_eq!(program.exit_code(), code);
    assert_eq!(program.stdout.count("forking") + program.stdout.count("task"), 0, "{:#?}", program.stdout.all());
    let line = program.stderr.all().pop().expect("a line");
    assert!(line.contains(last), "{:#?}", program.stderr.all());
}

fn preloads(how: &str, variables: &[(&str, &str)]) -> Program {
    let mut command = fixture("lends-what-preload-returned");
    Program::start(command.arg(how).envs(variables.iter().copied()))
}

#[test]
fn preload_runs_once_in_the_first_process_and_every_worker_is_lent_its_value() {
    let mut program = preloads("value", &[]);
    assert_eq!(program.exit_code(), 0);
    let lines = program.stdout.all();
    // First of all, before the options' expressions (one has a value of it) and before any fork.
    assert_eq!(lines[0], format!("preload in {}", program.pid()));
    assert_eq!(program.stdout.count("preload in"), 1);
    assert_eq!(lines[1], "forking");
    program.stderr.wait_for("starting 2 workers: workers = 2");
    let lent: Vec<_> = lines.iter().filter_map(|line| line.split_once(": what preload made at ")).collect();
    assert_eq!(lent.len(), 3, "{lines:#?}");
    assert!(lent.iter().all(|(_, address)| *address == lent[0].1), "{lines:#?}");
    program.stdout.wait_for("task 1 restarts 1: what preload made");
}

#[test]
fn the_command_line_wins_over_the_environment_and_the_environment_over_the_code() {
    let mut program = preloads("value", &[("PREFORK_MAX_RESTARTS", "0"), ("PREFORK_WORKERS", "3")]);
    assert_eq!(program.exit_code(), 0);
    program.stderr.wait_for("starting 3 workers: PREFORK_WORKERS=3");
    program.stderr.wait_for("environment variable PREFORK_MAX_RESTARTS is ignored: the command line sets max_restarts");
    program.stdout.wait_for("task 1 restarts 1: what preload made");
}

#[test]
fn the_value_of_preload_is_dropped_in_no_process() {
    for mode in ["", "off", "check"] {
        let mut program = preloads("value", &[("PREFORK", mode)]);
        assert_eq!(program.exit_code(), 0);
        assert_eq!(program.stdout.count("preload in"), 1);
        assert_eq!(program.stdout.count("dropped"), 0);
    }
}

#[test]
fn hooks_that_preload_registers_run_in_every_worker() {
    let mut program = preloads("value", &[]);
    assert_eq!(program.exit_code(), 0);
    assert_eq!((program.stdout.count("task 0: hook"), program.stdout.count("task 1: hook")), (1, 2));
}

#[test]
fn an_error_of_preload_ends_the_start_with_1_and_its_text() {
    for mode in ["", "off", "check"] {
        ends_before_the_fork(preloads("err", &[("PREFORK", mode)]), 1, "the reason of preload");
    }
}

#[test]
fn the_error_of_preload_counts_though_no_argument_takes_its_value() {
    ends_before_the_fork(Program::start(&mut fixture("preloads-in-vain")), 1, "invalid digit found in string");
}

#[test]
fn an_error_of_preload_is_told_with_its_causes_and_none_of_them_twice() {
    const CAUSED: &str = "preload failed: cannot read the number: invalid digit found in string; no worker was started";
    for (story, reason) in [
        ("caused", CAUSED),
        ("says-its-cause", CAUSED),
        ("boxed", CAUSED),
        ("pointer", CAUSED),
        ("text", "preload failed: a text alone; no worker was started"),
    ] {
        ends_before_the_fork(Program::start(fixture("preloads-in-vain").arg(story)), 1, reason);
    }
}

#[test]
fn a_panic_of_preload_ends_the_program_as_in_any_other() {
    let mut program = preloads("panic", &[]);
    assert_eq!(program.exit_code(), 101);
    assert_eq!(program.stdout.count("forking"), 0);
}

#[test]
fn a_thread_that_it_leaves_running_is_found_before_the_fork() {
    for mode in ["", "check"] {
        ends_before_the_fork(preloads("thread", &[("PREFORK", mode)]), 2, "left-running");
    }
}

#[test]
fn a_bad_variable_is_refused_before_it_runs() {
    let program = preloads("value", &[("PREFORK_WORKERS", "many")]);
    let stdout = program.stdout.clone();
    ends_before_the_fork(program, 2, "PREFORK_WORKERS");
    assert_eq!(stdout.all(), [""; 0]);
}

#[test]
fn a_logger_that_it_installs_gets_the_lines_from_then_on() {
    let mut program = preloads("logger", &[]);
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("INFO prefork_rt: starting 2 workers: workers = 2");
    program.stdout.wait_for("WARN prefork_rt: worker 1 (pid ");
    program.stdout.wait_for("INFO prefork_rt: all 2 workers have finished");
    assert_eq!(program.stderr.all(), [""; 0]);
}
