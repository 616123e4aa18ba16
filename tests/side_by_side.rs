//! A `main` with the attribute and a `main` on the builder do exactly the same.

mod support;
use support::{Program, Signal, fixture};

use std::process::Command;

/// Standard output, standard error and the exit status, with the numbers that no two runs have in common left out.
/// Workers run at the same time: their lines are in no order.
fn seen(command: &mut Command) -> (Vec<String>, Vec<String>, i32) {
    let waits = command.get_args().next().is_some_and(|how| how == "wait");
    // A backtrace names what each is made of.
    let mut program = Program::start(command.env("RUST_BACKTRACE", "0"));
    if waits {
        program.stdout.wait_for_nth("task ", 2);
        program.signal(Signal::SIGTERM);
    }
    let code = program.exit_code();
    let common = |lines: Vec<String>| {
        // Whether a worker was so quick to fail is the machine's affair.
        let lines = lines.iter().filter(|line| !line.contains("this looks like a failure to boot"));
        let mut lines: Vec<String> =
            lines.map(|line| without_what_differs(line).replace("/attribute", "/builder")).collect();
        lines.sort();
        lines
    };
    (common(program.stdout.all()), common(apart(&program.stderr.all())), code)
}

/// The supervisor's lines, and all that a worker wrote: the standard library writes it in pieces, which may come before,
/// between and after these.
fn apart(lines: &[String]) -> Vec<String> {
    let mut pieces = String::new();
    let mut apart = Vec::new();
    for line in lines {
        let (piece, own) = line.split_at(line.find("prefork: ").unwrap_or(line.len()));
        pieces.push_str(piece);
        apart.extend(Some(own).filter(|own| !own.is_empty()).map(str::to_owned));
    }
    apart.push(pieces);
    apart
}

#[test]
fn the_pieces_of_a_line_are_put_together() {
    let lines = ["Error: prefork: one", "prefork: two", "\"a reason\"prefork: three", "", "prefork: four"];
    let expected = ["prefork: one", "prefork: two", "prefork: three", "prefork: four", "Error: \"a reason\""];
    assert_eq!(apart(&lines.map(str::to_owned)), expected);
}

/// Process ids, ports, times, and which of the workers finished first.
fn without_what_differs(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from_number) = rest.split_at(start);
        let is_part = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = from_number.split_at(from_number.find(|c| !is_part(c)).unwrap_or(from_number.len()));
        text.push_str(before);
        let differs = ["pid ", "127.0.0.1:", "'main' ("].iter().any(|end| text.ends_with(end))
            || (before.ends_with("after ") && after.starts_with('s'))
            || after.starts_with(" left");
        text.push_str(if differs { "#" } else { number });
        rest = after;
    }
    text + rest
}

#[test]
fn what_differs_is_left_out_and_nothing_else() {
    assert_eq!(
        without_what_differs("worker 1 (pid 4711) exited with status 3 after 0.2s, restarting (1/2)"),
        "worker 1 (pid #) exited with status 3 after #s, restarting (1/2)"
    );
    assert_eq!(without_what_differs("task 1 at 127.0.0.1:4711"), "task 1 at 127.0.0.1:#");
    assert_eq!(without_what_differs("at most 7s"), "at most 7s");
}

fn same(how: &str, variables: &[(&str, &str)], code: i32) {
    let attribute = seen(fixture("attribute").arg(how).envs(variables.iter().copied()));
    let builder = seen(fixture("builder").arg(how).envs(variables.iter().copied()));
    assert_eq!(attribute, builder, "{how} {variables:?}");
    assert_eq!(attribute.2, code, "{how} {variables:?}: {attribute:#?}");
}

/// One worker that is not replaced, so that nothing else is written while it ends.
const ONE: &[(&str, &str)] = &[("PREFORK_WORKERS", "1"), ("PREFORK_MAX_RESTARTS", "0")];

#[test]
fn both_programs_are_alike_when_all_workers_finish() {
    same("finish", &[], 0);
}

#[test]
fn both_programs_are_alike_when_a_worker_is_replaced() {
    same("fail-once", &[("PREFORK_WORKERS", "1")], 0);
}

#[test]
fn both_programs_are_alike_when_they_give_up() {
    for how in ["exit-code", "err", "panic", "abort"] {
        same(how, ONE, 1);
    }
    // The number of restarts is an expression's.
    same("exit-code", &[("PREFORK_WORKERS", "1")], 1);
}

#[test]
fn both_programs_are_alike_when_they_are_stopped() {
    same("wait", &[], 0);
}

#[test]
fn without_supervision() {
    for (how, code) in [("finish", 0), ("exit-code", 42), ("err", 1), ("panic", 101), ("abort", 134)] {
        same(how, &[("PREFORK", "off")], code);
    }
}

#[test]
fn both_programs_are_alike_when_the_configuration_is_checked() {
    same("finish", &[("PREFORK", "check")], 0);
    same("finish", &[("PREFORK", "check"), ("PREFORK_LISTEN", "192.0.2.1:80")], 1);
}

#[test]
fn both_programs_are_alike_when_a_variable_is_wrong_or_unknown() {
    same("finish", &[("PREFORK_WORKERS", "many")], 2);
    same("finish", &[("PREFORK_LISTEN", "localhost")], 2);
    same("finish", &[("PREFORK_WORKRES", "1")], 0);
}

/// Where the builder's body finds it out in the worker, the attribute knows before the fork.
#[test]
fn the_attribute_asks_for_exactly_one_listener_before_anything_is_forked() {
    for (addresses, says) in [
        ("127.0.0.1:0,127.0.0.1:0", "listen has 2 addresses: ask for Vec<TcpListener>"),
        ("none", "nothing is listened on: give an address"),
    ] {
        for mode in ["", "off", "check"] {
            let mut command = fixture("attribute");
            let mut program =
                Program::start(command.arg("finish").env("PREFORK_LISTEN", addresses).env("PREFORK", mode));
            assert_eq!(program.exit_code(), 2);
            assert_eq!(program.stdout.all(), [""; 0]);
            let last = program.stderr.all().pop().expect("a line");
            assert!(last.contains(says), "{last}");
        }
    }
}
