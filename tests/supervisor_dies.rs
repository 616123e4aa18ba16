//! Promise 3: no worker outlives its supervisor, however that ends.

mod support;
use std::time::Duration;

use support::session::Session;
use support::{Signal, moments, send, state_of, until};

#[test]
fn no_worker_outlives_its_supervisor() {
    for signal in [Signal::SIGKILL, Signal::SIGABRT] {
        let program = Session::start(&mut fixture!("sleeps"));
        program.wait_for_children(3);
        program.signal(signal);
        program.wait_until_empty();
    }
}

#[test]
fn no_worker_outlives_its_supervisor_that_blocks_all_signals() {
    let program = Session::start(&mut fixture!("ignores-term"));
    program.stdout.wait_for_nth("blocks all signals", 2);
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}

#[test]
fn no_worker_outlives_its_supervisor_that_is_stopped() {
    let program = Session::start(&mut fixture!("sleeps"));
    let workers = program.wait_for_children(3);
    program.stdout.wait_for_nth("task", 3);
    for &worker in &workers {
        send(worker, Signal::SIGSTOP);
    }
    until("the workers are stopped", || workers.iter().all(|&worker| state_of(worker) == Some('T')).then_some(()));
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}

#[test]
fn no_worker_outlives_its_supervisor_that_is_stopped_itself() {
    let program = Session::start(&mut fixture!("sleeps"));
    program.wait_for_children(3);
    program.signal(Signal::SIGSTOP);
    until("the supervisor is stopped", || (state_of(program.pid()) == Some('T')).then_some(()));
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}

#[test]
fn no_worker_outlives_its_supervisor_at_whatever_moment_of_its_start() {
    for moment in moments().take(80) {
        let program = Session::start(fixture!("ignores-term").env("PREFORK_WORKERS", "12"));
        std::thread::sleep(Duration::from_micros(moment % 8000));
        program.signal(Signal::SIGKILL);
        program.wait_until_empty();
    }
}

#[test]
fn no_worker_outlives_its_supervisor_at_whatever_moment_of_a_restart() {
    for moment in moments().take(40) {
        let mut command = fixture!("dies-young");
        let program = Session::start(command.env("PREFORK_BACKOFF", "0s").env("PREFORK_MAX_RESTARTS", "unlimited"));
        program.stderr.wait_for_nth("restarting", 10);
        std::thread::sleep(Duration::from_micros(moment % 4000));
        program.signal(Signal::SIGKILL);
        program.wait_until_empty();
    }
}

#[test]
fn no_worker_outlives_its_supervisor_during_a_graceful_stop() {
    let program = Session::start(fixture!("ignores-term").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
    program.stdout.wait_for_nth("blocks all signals", 2);
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping 2 workers");
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}
