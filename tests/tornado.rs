//! What Tornado's `fork_processes` promises, one test each.

mod support;
use support::Program;

#[test]
fn ids_are_0_to_n_and_a_normal_exit_is_final() {
    let mut program = Program::start(&mut fixture!("reports-task-id"));
    assert_eq!(program.exit_code(), 0);
    let mut lines = program.stdout.all();
    lines.sort();
    assert_eq!(lines, ["task 0 of 3", "task 1 of 3", "task 2 of 3"]);
    program.stderr.wait_for("starting 3 workers");
    for left in 0..3 {
        program.stderr.wait_for(&format!("{left} left"));
    }
}
