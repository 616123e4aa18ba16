//! What workers see of signals, and which signals end them.

use std::process::Command;

use crate::support::before_exec::{blocking, ignoring};
use crate::support::session::Session;
use crate::support::{Program, Signal, fixture, send, state_of, until};

/// Promise 6, as far as signals go. An empty handler takes the place of the default action of three, which exec(2) gives
/// back.
#[test]
fn a_worker_sees_the_mask_and_dispositions_it_would_have_had_without_us_but_does_not_die_of_what_is_sent_to_all() {
    let starts: [fn(&mut Command) -> &mut Command; 4] = [
        |command| command,
        |command| blocking(command, [Signal::SIGTERM, Signal::SIGUSR2, Signal::SIGCHLD, Signal::SIGALRM]),
        |command| ignoring(command, [Signal::SIGCHLD, Signal::SIGPROF]),
        |command| {
            let ignored =
                [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGUSR1];
            ignoring(blocking(command, [Signal::SIGINT, Signal::SIGPIPE]), ignored)
        },
    ];
    for (number, start) in starts.into_iter().enumerate() {
        let mut plain = Program::start(start(fixture("shows-signals").arg("plain")));
        assert_eq!(plain.exit_code(), 0, "start {number}: {:#?}", plain.stderr.all());
        let expected = with_three_caught(plain.stdout.all());
        assert!(!expected.is_empty());
        let mut program = Program::start(start(&mut fixture("shows-signals")));
        assert_eq!(program.exit_code(), 0, "start {number}: {:#?}", program.stderr.all());
        let shown = program.stdout.all();
        let (worker, replacement) = shown.split_at(expected.len());
        assert_eq!(worker, expected, "start {number}");
        assert_eq!(replacement, expected, "start {number}");
    }
}

/// What a process without prefork has shown of itself, with the three caught where they were not ignored.
fn with_three_caught(shown: Vec<String>) -> Vec<String> {
    let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    let ignored = shown.iter().find_map(|line| line.strip_prefix("own SigIgn:\t")).map(number).expect("a field");
    let three = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2].map(|signal| 1 << (signal as u64 - 1));
    let three: u64 = three.into_iter().filter(|bit| ignored & bit == 0).sum();
    let line = |line: String| match line.strip_prefix("own SigCgt:\t") {
        Some(caught) => format!("own SigCgt:\t{:016x}", number(caught) | three),
        None => line,
    };
    shown.into_iter().map(line).collect()
}

/// `pidof`, `systemctl kill` without `--kill-whom=main`.
#[test]
fn what_is_sent_to_every_process_of_the_service_ends_no_worker() {
    let mut program = Session::start(&mut fixture("sleeps"));
    for (signal, answer) in [
        (Signal::SIGUSR1, "passed on to 3 workers"),
        (Signal::SIGHUP, ": 3 workers were replaced"),
        (Signal::SIGUSR2, "upgrade done"),
    ] {
        let workers = program.wait_for_children(3);
        workers.iter().for_each(|&worker| send(worker, signal));
        program.signal(signal);
        program.stderr.wait_for(answer);
    }
    program.stop();
    assert_eq!(program.stderr.count("killed by SIGUSR") + program.stderr.count("killed by SIGHUP"), 0);
    assert_eq!(program.stderr.count("/100)"), 0, "{:#?}", program.stderr.all());
    program.wait_until_empty();
}

#[test]
fn a_stopped_worker_is_neither_ended_nor_replaced() {
    let mut program = Session::start(&mut fixture("sleeps"));
    let workers = program.wait_for_children(3);
    send(workers[0], Signal::SIGSTOP);
    until("the worker is stopped", || (state_of(workers[0]) == Some('T')).then_some(()));
    // Whatever the supervisor made of it, it has done when it answers this.
    program.signal(Signal::SIGUSR1);
    program.stderr.wait_for("SIGUSR1");
    assert_eq!(program.children(), workers);
    assert_eq!(program.stderr.count(&format!("pid {}", workers[0])), 0, "{:#?}", program.stderr.all());
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}
