//! What was written before a fork appears once, what workers write appears, and the lines go where they should.

mod support;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use support::{Lines, Program, Signal, fixture, own_path, send, until, words};

fn appears_once(text: &str) {
    assert_eq!(text.matches("rust-text ").count(), 1, "{text}");
    assert_eq!(text.matches("c-text ").count(), 1, "{text}");
    let mut lives: Vec<&str> = text.lines().filter_map(|line| line.split("task ").nth(1)).collect();
    lives.sort();
    let expected = ["0 restarts 0", "1 restarts 0", "1 restarts 1", "1 restarts 2", "2 restarts 0"];
    assert_eq!(lives, expected.map(|life| format!("{life} on stdout")));
}

#[test]
fn text_buffered_before_the_fork_appears_once_in_a_pipe() {
    let mut program = Program::start(&mut fixture("prints-before-start"));
    assert_eq!(program.exit_code(), 0);
    appears_once(&program.stdout.all().join("\n"));
}

#[test]
fn text_buffered_before_the_fork_appears_once_in_a_file() {
    let file = own_path("output");
    let mut command = support::clean_command("sh");
    command.args(["-c", "exec \"$@\" >\"$0\""]).arg(&file).args(words(&fixture("prints-before-start")));
    let mut program = Program::start(&mut command);
    let code = program.exit_code();
    let text = std::fs::read_to_string(&file).expect("written");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(code, 0);
    appears_once(&text);
}

#[test]
fn a_full_pipe_at_the_first_fork_does_not_keep_sigterm_from_ending_the_program() {
    let (_reader, mut writer) = std::io::pipe().expect("a pipe");
    let mut command = fixture("prints-before-start");
    let size = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETPIPE_SZ).expect("its size");
    writer.write_all(&vec![b'x'; size.try_into().expect("a size")]).expect("it takes that much");
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().expect("it starts");
    let lines = Lines::read(child.stderr.take().expect("piped"));
    lines.wait_for("starting 3 workers");
    send(child.id().try_into().expect("a process id"), Signal::SIGTERM);
    let status = until("it ends", || child.try_wait().expect("our child"));
    assert_eq!(status.code(), Some(0));
    lines.wait_for("stopped before any worker was started");
}

/// Otherwise what is printed would go to a listener, or into the memory that the pool shares.
#[test]
fn what_the_program_has_closed_of_its_input_and_outputs_is_no_descriptor_of_the_pool() {
    let mut program = Program::start(&mut fixture("closes-standard-descriptors"));
    let mut pids = program.wait_for_children(2);
    pids.push(program.pid());
    for pid in pids {
        for number in 0..=2 {
            let file = std::fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("it is open");
            assert_eq!(file.to_str(), Some("/dev/null"), "descriptor {number}");
        }
    }
    program.stop();
}

#[test]
fn a_program_that_has_closed_its_input_and_outputs_is_upgraded() {
    let mut program = Program::start(&mut fixture("closes-standard-descriptors"));
    let before = program.wait_for_children(2);
    program.signal(Signal::SIGUSR2);
    until("both workers are replaced", || {
        let children = program.children();
        (children.len() == 2 && children.iter().all(|child| !before.contains(child))).then_some(())
    });
    program.stop();
}

#[test]
fn workers_write_to_both_outputs() {
    let mut program = Program::start(&mut fixture("prints-before-start"));
    assert_eq!(program.exit_code(), 0);
    for (task_id, restarts) in [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0)] {
        program.stdout.wait_for(&format!("task {task_id} restarts {restarts} on stdout"));
        program.stderr.wait_for(&format!("task {task_id} restarts {restarts} on stderr"));
    }
}

#[test]
fn an_installed_logger_gets_the_lines_and_is_flushed_before_every_fork() {
    let mut program = Program::start(fixture("installs-a-logger").arg("info"));
    assert_eq!(program.exit_code(), 0);
    let lines = program.stdout.all();
    assert_eq!(lines[0], "INFO fixture: held back");
    assert_eq!(lines[1], "INFO prefork_rt: starting 2 workers: workers = 2");
    // Held back where it is not flushed: what a fork copied, a worker would have printed again.
    for line in &lines {
        assert_eq!(program.stdout.count(line), 1, "{line}");
    }
    program.stdout.wait_for("WARN prefork_rt: worker 1 (pid ");
    assert_eq!(program.stdout.count(" INFO fixture: task ") + program.stdout.count("INFO fixture: task "), 4);
    assert_eq!(program.stderr.all(), [""; 0], "the status is 0");
}

#[test]
fn the_logger_is_flushed_at_the_end() {
    let mut program = Program::start(fixture("installs-a-logger").arg("info"));
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("INFO prefork_rt: all 2 workers have finished: exiting with status 0");
    let mut program = Program::start(fixture("installs-a-logger").arg("info").env("PREFORK_MAX_RESTARTS", "1"));
    assert_eq!(program.exit_code(), 1);
    program.stdout.wait_for("ERROR prefork_rt: gave up: worker 1");
    let mut program = Program::start(fixture("installs-a-logger").arg("info").env("PREFORK_LISTEN", "192.0.2.1:80"));
    assert_eq!(program.exit_code(), 1);
    program.stdout.wait_for("ERROR prefork_rt: cannot listen");
    let mut program = Program::start(fixture("installs-a-logger").arg("info").env("PREFORK", "check"));
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("INFO prefork_rt: PREFORK=check: all is well");
}

#[test]
fn the_loggers_level_is_respected() {
    let mut program = Program::start(fixture("installs-a-logger").arg("warn"));
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("WARN prefork_rt: worker 1 (pid ");
    assert_eq!(program.stdout.count("INFO"), 0);
    assert_eq!(program.stderr.all(), [""; 0]);
    let mut program = Program::start(fixture("installs-a-logger").arg("debug"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.count("DEBUG prefork_rt: worker 0 (pid "), 1);
}

#[test]
fn a_logger_at_level_off_counts_as_none() {
    let mut program = Program::start(fixture("installs-a-logger").arg("off"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.all(), [""; 0]);
    program.stderr.wait_for("prefork: starting 2 workers");
    program.stderr.wait_for("prefork: all 2 workers have finished");
}

#[test]
fn the_last_line_is_on_standard_error_too_when_the_status_is_not_0() {
    for (level, to_logger) in [("info", 1), ("error", 1), ("off", 0)] {
        let mut command = fixture("installs-a-logger");
        let mut program = Program::start(command.arg(level).env("PREFORK_MAX_RESTARTS", "1"));
        assert_eq!(program.exit_code(), 1);
        let last = program.stderr.all().pop().expect("a line");
        assert!(last.starts_with("prefork: gave up: worker 1 ended abnormally"), "{last}");
        assert_eq!(program.stderr.count("gave up: "), 1);
        assert_eq!(program.stdout.count("ERROR prefork_rt: gave up: "), to_logger);
    }
    let mut command = fixture("installs-a-logger");
    let mut program = Program::start(command.arg("info").env("PREFORK_WORKERS", "two"));
    assert_eq!(program.exit_code(), 2);
    assert_eq!(program.stderr.all().len(), 1);
    program.stderr.wait_for("prefork: environment variable PREFORK_WORKERS");
    program.stdout.wait_for("ERROR prefork_rt: environment variable PREFORK_WORKERS");
}

/// Its standard error, which JOURNAL_STREAM names as a service manager does, and what comes out of it.
fn with_a_journal(mut command: std::process::Command, is_named: bool) -> (Program, Lines) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let theirs = std::fs::File::from(std::os::fd::OwnedFd::from(theirs));
    let file = theirs.metadata().expect("a file");
    let inode = if is_named { file.ino() } else { file.ino() + 1 };
    command.env("JOURNAL_STREAM", format!("{}:{inode}", file.dev()));
    let program = Program::start_with_stderr(&mut command, theirs.into());
    // The other end is the program's alone, so the lines end with it.
    drop(command);
    (program, Lines::read(ours))
}

#[test]
fn lines_for_journald_say_how_much_they_matter() {
    for (is_named, prefixes) in [(true, ["<6>", "<4>", "<3>"]), (false, [""; 3])] {
        let mut command = fixture("installs-a-logger");
        command.arg("off").env("PREFORK_MAX_RESTARTS", "1");
        let (mut program, lines) = with_a_journal(command, is_named);
        assert_eq!(program.exit_code(), 1);
        lines.finish();
        let [info, warning, error] = prefixes;
        for (line, prefix) in [
            ("prefork: starting 2 workers", info),
            ("prefork: worker 1 (pid ", warning),
            ("prefork: gave up: worker 1 ended abnormally", error),
        ] {
            let line = format!("{prefix}{line}");
            assert!(lines.all().iter().any(|one| one.starts_with(&line)), "{line} in {:#?}", lines.all());
        }
        let all = lines.all();
        let ours = all.iter().filter(|line| line.contains("prefork: "));
        let marked = ours.clone().filter(|line| line.starts_with('<')).count();
        assert_eq!(marked, if is_named { ours.count() } else { 0 }, "{all:#?}");
    }
}

/// What a logger makes of a line is its own affair; the last one goes past it.
#[test]
fn a_logger_s_lines_have_no_prefix_and_the_last_line_past_it_has() {
    let mut command = fixture("installs-a-logger");
    command.arg("info").env("PREFORK_MAX_RESTARTS", "1");
    let (mut program, lines) = with_a_journal(command, true);
    assert_eq!(program.exit_code(), 1);
    lines.finish();
    let last = lines.all().pop().expect("a line");
    assert!(last.starts_with("<3>prefork: gave up: worker 1 ended abnormally"), "{last}");
    program.stdout.wait_for("ERROR prefork_rt: gave up: worker 1");
    assert_eq!(program.stdout.count("<"), 0, "{:#?}", program.stdout.all());
}

/// A signal handler writes it.
#[test]
fn the_line_of_a_stop_before_the_pool_says_so_too() {
    let (reader, _waits) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut command = fixture("before-the-pool");
    command.arg("waits").stdin(std::os::fd::OwnedFd::from(reader));
    let (mut program, lines) = with_a_journal(command, true);
    program.stdout.wait_for("before the pool");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    lines.finish();
    let last = lines.all().pop().expect("a line");
    assert!(last.starts_with("<6>prefork: SIGTERM from pid "), "{last}");
}
