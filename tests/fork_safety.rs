//! Promise 5: nothing is forked when it would be unsafe.

mod support;
use std::collections::BTreeMap;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule};
use support::before_exec::before_exec;
use support::session::Session;
use support::{Program, Signal, send, until};

fn refused(command: &mut Command, words: &[&str]) {
    let mut program = Session::start(command);
    assert_eq!(program.exit_code(), 2, "{:#?}", program.stderr.all());
    let lines = program.stderr.all();
    assert_eq!(lines.len(), 2, "what was to be started, and why it was not: {lines:#?}");
    for word in words {
        assert!(lines[1].contains(word), "{word:?} is not in {lines:#?}");
    }
    assert_eq!(program.stdout.all(), Vec::<String>::new());
    program.wait_until_empty();
}

const THREAD_WORDS: [&str; 5] = [
    "1 other thread",
    "(early-bird)",
    "start threads and async runtimes in main's body",
    "above",
    "no worker was started",
];

#[test]
fn nothing_is_forked_when_another_thread_is_alive() {
    refused(&mut fixture!("starts-a-thread-first"), &THREAD_WORDS);
}

#[test]
fn nothing_is_forked_when_an_event_loop_is_open() {
    let words = ["event loop (epoll)", "in main's body", "no worker was started"];
    refused(&mut fixture!("opens-an-event-loop-first"), &words);
}

#[test]
fn an_event_loop_inherited_through_exec_is_somebody_elses() {
    let mut program = Program::start(fixture!("opens-an-event-loop-first").arg("inherited"));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.count("forked"), 2);
}

#[test]
fn nothing_is_forked_elsewhere_than_on_the_main_thread() {
    refused(&mut fixture!("starts-on-another-thread"), &["not started from the main thread", "start it in main"]);
}

#[test]
fn a_check_of_the_configuration_finds_threads_too() {
    refused(fixture!("starts-a-thread-first").env("PREFORK", "check"), &THREAD_WORDS);
}

fn is_never_refused(command: &mut Command) {
    let mut program = Program::start(command);
    // A loaded machine has time for each part of it.
    for part in 0..=6 {
        let line = format!("restart {}", 500 * part);
        until("it goes on, or has ended", || {
            (program.stdout.count(&line) > 0 || program.stderr.count("unsafe") > 0).then_some(())
        });
    }
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
}

#[test]
fn a_thread_just_joined_is_never_refused() {
    is_never_refused(&mut fixture!("joins-a-thread-before-each-fork"));
}

#[test]
fn a_thread_that_appears_later_stops_the_pool_in_order_and_is_named() {
    let mut program = Session::start(&mut fixture!("starts-a-thread-later"));
    let workers = program.wait_for_children(3);
    send(workers[1], Signal::SIGKILL);
    assert_eq!(program.exit_code(), 1);
    program.wait_until_empty();
    assert_eq!(program.stderr.count("killed by SIGTERM after"), 2, "{:#?}", program.stderr.all());
    let last = program.stderr.all().pop().expect("lines");
    for words in ["prefork: forking became unsafe", "1 other thread", "(late-riser)", "the workers were stopped"] {
        assert!(last.contains(words), "{words:?} is not in {last:?}");
    }
}

/// unshare(2) fails with EPERM, as under the seccomp filters of many containers.
fn without_unshare() -> BpfProgram {
    let arch = std::env::consts::ARCH.try_into().expect("an architecture that seccompiler knows");
    let rules: BTreeMap<i64, Vec<SeccompRule>> = [(libc::SYS_unshare, vec![])].into();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).expect("a filter");
    filter.try_into().expect("a program")
}

fn filtered(command: &mut Command, filter: BpfProgram) -> &mut Command {
    before_exec(command, move || {
        seccompiler::apply_filter(&filter).map_err(|_| std::io::ErrorKind::PermissionDenied.into())
    })
}

#[test]
fn where_unshare_is_refused_threads_are_found_all_the_same() {
    refused(filtered(&mut fixture!("starts-a-thread-first"), without_unshare()), &THREAD_WORDS);
}

#[test]
fn where_unshare_is_refused_forking_goes_on() {
    let mut program = Program::start(filtered(&mut fixture!("reports-task-id"), without_unshare()));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stderr.count("cannot tell"), 0);
    assert_eq!(program.stdout.count("task"), 3);
}

#[test]
fn where_unshare_is_refused_a_thread_just_joined_is_not() {
    is_never_refused(filtered(&mut fixture!("joins-a-thread-before-each-fork"), without_unshare()));
}

#[test]
fn where_nothing_tells_of_threads_one_warning_says_so() {
    let mut command = fixture!("dies-young");
    before_exec(&mut command, || {
        if !nix::unistd::geteuid().is_root() {
            unshare(CloneFlags::CLONE_NEWUSER)?;
        }
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        Ok(mount(Some("none"), "/proc", Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
    });
    let command = filtered(&mut command, without_unshare()).env("PREFORK_MAX_RESTARTS", "3");
    let mut program = match Program::try_start(command, std::process::Stdio::piped()) {
        Ok(program) => program,
        Err(error) => skip!("/proc cannot be hidden from a program here: {error}"),
    };
    assert_eq!(program.exit_code(), 1);
    assert_eq!(program.stderr.count("cannot tell whether other threads are alive"), 1, "{:#?}", program.stderr.all());
    assert_eq!(program.stderr.count("restarting"), 3);
}
