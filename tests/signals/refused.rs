//! Signals that would end the supervisor are refused.

use crate::support::session::Session;
use crate::support::{Signal, fixture, state_of, until};
use crate::{Endless, send_number};

/// What would end the supervisor, and the pool with it.
fn refused() -> Vec<(i32, String)> {
    let named = [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGXCPU, libc::SIGXFSZ];
    let name = |number| Signal::try_from(number).expect("a signal").to_string();
    let mut signals: Vec<(i32, String)> = named.map(|number| (number, name(number))).into();
    if cfg!(target_os = "linux") {
        signals.extend([libc::SIGIO, libc::SIGPWR, libc::SIGSTKFLT].map(|number| (number, name(number))));
        let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
        signals.push((first, "SIGRTMIN".into()));
        signals.extend([first + 1, last].map(|number| (number, format!("SIGRTMIN+{}", number - first))));
    }
    signals
}

#[test]
fn a_signal_that_would_end_the_supervisor_is_refused_with_one_line() {
    let mut program = Session::start(&mut fixture("sleeps"));
    let workers = program.wait_for_children(3);
    let by = std::process::id();
    for (nth, (number, name)) in (1..).zip(refused()) {
        for _ in 0..3 {
            send_number(program.pid(), number);
        }
        program.stderr.wait_for(&format!("{name} from pid {by} is refused: "));
        // An answer, after which there would be another line.
        send_number(program.pid(), number);
        program.signal(Signal::SIGUSR1);
        program.stderr.wait_for_nth("passed on to 3 workers", nth);
        assert_eq!(program.stderr.count(&format!("{name} from")), 1, "{:#?}", program.stderr.all());
    }
    assert_eq!(program.children(), workers);
    program.stop();
}

#[test]
fn a_worker_dies_of_what_the_supervisor_refuses() {
    let program = Session::start(fixture("sleeps").env("PREFORK_WORKERS", "1"));
    for (nth, (number, name)) in refused().into_iter().enumerate() {
        program.stdout.wait_for_nth("task 0", nth + 1);
        send_number(program.wait_for_children(1)[0], number);
        program.stderr.wait_for(&format!("killed by {name} after"));
    }
}

/// From a timer gone wild, say.
#[test]
fn refused_signals_without_end_hide_no_stop_and_flood_no_log() {
    for number in [libc::SIGALRM, libc::SIGRTMIN()] {
        let mut program = Session::start(&mut fixture("sleeps"));
        let pid = program.pid();
        program.wait_for_children(3);
        let sender = Endless::send_with(move || send_number(pid, number));
        program.stderr.wait_for("is refused");
        for signal in [Signal::SIGUSR1, Signal::SIGTTIN] {
            program.signal(signal);
        }
        program.signal(Signal::SIGTERM);
        until("the supervisor ends", || (state_of(pid) == Some('Z')).then_some(()));
        drop(sender);
        assert_eq!(program.exit_code(), 0);
        // One a minute.
        assert!(program.stderr.count("is refused") <= 2, "{:#?}", program.stderr.all());
    }
}
