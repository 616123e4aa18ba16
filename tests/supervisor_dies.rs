//! Promise 3: no worker outlives its supervisor, however that ends.

mod support;
use std::time::Duration;

use support::lives::lives;
use support::pool::Pool;
use support::session::Session;
use support::{Signal, fixture, moments, send, state_of, until};

#[test]
fn no_worker_outlives_its_supervisor() {
    for signal in [Signal::SIGKILL, Signal::SIGABRT] {
        let program = Session::start(&mut fixture("sleeps"));
        program.wait_for_children(3);
        program.signal(signal);
        program.wait_until_empty();
    }
}

#[test]
fn no_worker_outlives_its_supervisor_that_blocks_all_signals() {
    let program = Session::start(&mut fixture("ignores-term"));
    program.stdout.wait_for_nth("blocks all signals", 2);
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}

#[test]
fn no_worker_outlives_its_supervisor_that_is_stopped() {
    let program = Session::start(&mut fixture("sleeps"));
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
    let program = Session::start(&mut fixture("sleeps"));
    program.wait_for_children(3);
    program.signal(Signal::SIGSTOP);
    until("the supervisor is stopped", || (state_of(program.pid()) == Some('T')).then_some(()));
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}

#[test]
fn no_worker_outlives_its_supervisor_at_whatever_moment_of_its_start() {
    for moment in moments().take(80) {
        let program = Session::start(fixture("ignores-term").env("PREFORK_WORKERS", "12"));
        std::thread::sleep(Duration::from_micros(moment % 8000));
        program.signal(Signal::SIGKILL);
        program.wait_until_empty();
    }
}

#[test]
fn no_worker_outlives_its_supervisor_at_whatever_moment_of_a_restart() {
    for moment in moments().take(40) {
        let mut command = fixture("dies-young");
        let program = Session::start(command.env("PREFORK_BACKOFF", "0s").env("PREFORK_MAX_RESTARTS", "unlimited"));
        program.stderr.wait_for_nth("restarting", 10);
        std::thread::sleep(Duration::from_micros(moment % 4000));
        program.signal(Signal::SIGKILL);
        program.wait_until_empty();
    }
}

#[test]
fn no_worker_outlives_its_supervisor_during_a_graceful_stop() {
    let program = Session::start(fixture("ignores-term").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
    program.stdout.wait_for_nth("blocks all signals", 2);
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping 2 workers");
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}

#[test]
fn no_worker_outlives_its_supervisor_during_a_reload() {
    for style in ["overlap", "exclusive"] {
        // The replacement is not ready, or the old worker does not return.
        for (step, line) in [("boot-0", "restart 1,"), ("stop-0", "is told to stop")] {
            let mut command = fixture("reloads");
            command.env("PREFORK_RELOAD", style);
            let pool = Pool::start(command);
            pool.wait_until_ready();
            pool.tell(step, "wait");
            pool.reload();
            pool.stdout.wait_for(line);
            pool.signal(Signal::SIGKILL);
            pool.wait_until_empty();
        }
    }
}

#[test]
fn no_worker_outlives_its_supervisor_that_waits_for_one_that_hangs() {
    let steps = ["--heartbeat_timeout=200ms", "worker=0", "ignore", "beat", "wait"];
    let program = Session::start(&mut lives(steps));
    program.stderr.wait_for("it hangs; SIGABRT now");
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}

#[test]
fn no_worker_outlives_its_supervisor_during_a_backoff() {
    let program = Session::start(&mut lives(["--backoff=1h", "worker=1", "exit=3"]));
    program.stderr.wait_for("restarting in 1h00m");
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}
