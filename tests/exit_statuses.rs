//! A worker's exit status is exactly what plain `main` would have given.

mod support;
use support::{Program, fixture};

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// How the body ends, the status that facts about Rust's programs predict, and what it prints on standard error: in the
/// pieces in which the standard library writes it, between which the supervisor may write, too.
const ENDS: &[(&str, Status, &[&str])] = &[
    ("unit", Status::Exits(0), &[]),
    ("ok", Status::Exits(0), &[]),
    ("err", Status::Exits(1), &["Error: ", "the reason of the body"]),
    ("err-of-exit-code", Status::Exits(1), &["Error: ", "the reason of the body"]),
    ("exit-code", Status::Exits(42), &[]),
    ("ok-of-exit-code", Status::Exits(43), &[]),
    ("panic", Status::Exits(101), &["the reason of the body"]),
    ("panic-in-joined-thread", Status::Exits(0), &["the reason of the thread"]),
    ("panic-while-unwinding", Status::KilledBy("SIGABRT", libc::SIGABRT), &["the reason of the drop"]),
    ("abort", Status::KilledBy("SIGABRT", libc::SIGABRT), &[]),
    ("null-write", Status::KilledBy("SIGSEGV", libc::SIGSEGV), &[]),
    ("stack-overflow", Status::KilledBy("SIGABRT", libc::SIGABRT), &["has overflowed its stack"]),
    ("exit-300", Status::Exits(44), &[]),
    ("exit-minus-1", Status::Exits(255), &[]),
    ("never", Status::Exits(3), &[]),
];

enum Status {
    Exits(i32),
    KilledBy(&'static str, i32),
}

impl Status {
    /// As the log says it.
    fn words(&self) -> String {
        match self {
            Status::Exits(0) => "finished with status 0".to_owned(),
            Status::Exits(code) => format!("exited with status {code}"),
            Status::KilledBy(name, _) => format!("killed by {name}"),
        }
    }

    fn is(&self, status: ExitStatus) -> bool {
        match *self {
            Status::Exits(code) => status.code() == Some(code),
            Status::KilledBy(_, signal) => status.signal() == Some(signal),
        }
    }
}

fn prints(program: &Program, pieces: &[&str]) -> bool {
    pieces.iter().all(|piece| program.stderr.count(piece) > 0)
}

#[test]
fn a_worker_ends_as_a_plain_program_does() {
    for (body, expected, says) in ENDS {
        let mut plain = Program::start(fixture("exits-with").args([body, "plain"]));
        let status = plain.wait();
        assert!(expected.is(status), "{body}, plain: {status}");
        assert!(prints(&plain, says), "{body}, plain: {:#?}", plain.stderr.all());

        let mut supervised = Program::start(fixture("exits-with").arg(body));
        let code = supervised.exit_code();
        let line = supervised.stderr.wait_for("worker 0 (pid ");
        assert!(line.contains(&format!(") {}", expected.words())), "{body}: {line}");
        assert_eq!(code, if expected.words().starts_with("finished") { 0 } else { 1 }, "{body}");
        assert!(prints(&supervised, says), "{body}: {:#?}", supervised.stderr.all());
    }
}

#[test]
fn without_supervision_the_program_ends_as_a_plain_one_does() {
    for (body, expected, says) in ENDS {
        let mut program = Program::start(fixture("exits-with").arg(body).env("PREFORK", "off"));
        let status = program.wait();
        assert!(expected.is(status), "{body}: {status}");
        assert!(prints(&program, says), "{body}: {:#?}", program.stderr.all());
    }
}
