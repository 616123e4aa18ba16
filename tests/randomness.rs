//! Hooks run in every worker before the body; workers do not repeat each other's random numbers.

mod support;
use support::{Program, fixture};

use std::collections::BTreeSet;

/// What runs of `runs-hooks` print of one life of one worker, in order.
fn life(program: &Program, task_id: usize, restarts: usize) -> Vec<String> {
    let prefix = format!("task {task_id} restarts {restarts}: ");
    program.stdout.all().iter().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

#[test]
fn hooks_run_in_order_in_every_worker_before_the_body() {
    let mut program = Program::start(fixture("runs-hooks").arg("succeeds"));
    assert_eq!(program.exit_code(), 0);
    for (task_id, restarts) in [(0, 0), (1, 0), (1, 1)] {
        assert_eq!(life(&program, task_id, restarts), ["hook 1", "hook 2", "body"]);
    }
    assert_eq!(program.stdout.all().len(), 9);
}

#[test]
fn hooks_run_without_supervision() {
    let mut program = Program::start(fixture("runs-hooks").arg("succeeds").env("PREFORK", "off"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(life(&program, 0, 0), ["hook 1", "hook 2", "body"]);
    let mut program = Program::start(fixture("runs-hooks").arg("exit-code").env("PREFORK", "off"));
    assert_eq!(program.exit_code(), 7);
}

#[test]
fn a_hook_that_fails_ends_its_worker_with_its_status() {
    for (third, status, says) in
        [("exit-code", 7, ""), ("err", 1, "the reason of the hook"), ("panic", 101, "the reason of the hook")]
    {
        let mut program = Program::start(fixture("runs-hooks").arg(third));
        assert_eq!(program.exit_code(), 1);
        program.stderr.wait_for(&format!(") exited with status {status} after "));
        assert!(says.is_empty() || program.stderr.count(says) > 0, "{:#?}", program.stderr.all());
        assert_eq!(life(&program, 0, 0), ["hook 1", "hook 2"]);
    }
}

/// The values that lines of `name value` give.
fn values(program: &Program, name: &str) -> Vec<String> {
    program.stdout.all().iter().filter_map(|line| line.strip_prefix(&format!("{name} "))).map(str::to_owned).collect()
}

fn distinct(values: &[String]) -> usize {
    values.iter().collect::<BTreeSet<_>>().len()
}

/// 8 workers and a replacement, in a program that drew a number before it started them.
#[test]
fn random_numbers_differ_with_the_features_and_only_with_them() {
    let mut program = Program::start(&mut fixture("draws-random-numbers"));
    assert_eq!(program.exit_code(), 0);
    for generator in ["rand-0.9", "rand-0.10", "fastrand"] {
        let draws = values(&program, generator);
        assert_eq!(draws.len(), 9);
        assert_eq!(distinct(&draws), if cfg!(feature = "reseed") { 9 } else { 1 }, "{generator}: {draws:#?}");
    }
}

#[test]
fn hash_keys_differ_although_the_supervisor_ran() {
    let mut program = Program::start(&mut fixture("prints-hash-keys"));
    assert_eq!(program.exit_code(), 0);
    for what in ["hash", "order"] {
        let values = values(&program, what);
        assert_eq!((values.len(), distinct(&values)), (8, 8), "{what}: {values:#?}");
    }
}

/// The documented limit: the keys belong to the thread that forks, and nothing can change them.
#[test]
fn hash_keys_are_shared_once_the_program_made_a_map_before_the_start() {
    let mut program = Program::start(fixture("prints-hash-keys").arg("first"));
    assert_eq!(program.exit_code(), 0);
    for what in ["hash", "order"] {
        let values = values(&program, what);
        assert_eq!((values.len(), distinct(&values)), (8, 1), "{what}: {values:#?}");
    }
}
