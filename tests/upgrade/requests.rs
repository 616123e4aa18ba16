//! Signals that arrive during an upgrade: none is lost, and the newest binary runs in the end.

use std::fs::{self};

use crate::start;
use crate::support::upgrading::Upgrading;
use crate::support::{Signal, is_alive, until};

#[test]
fn a_second_upgrade_waits_for_the_first_and_a_stop_ends_both() {
    let pool = start("serves-1");
    let workers = pool.program.children();
    pool.upgrade_to("waits");
    let rehearsal =
        until("the rehearsal runs", || pool.program.children().into_iter().find(|child| !workers.contains(child)));
    // What is rehearsed may be an older file than what is there now.
    pool.upgrade_to("serves-2");
    pool.program.stderr.wait_for("an upgrade is in progress; when it is over, the next begins");
    fs::write(pool.release.path("go"), "").expect("written");
    pool.wait_for_upgrade(1);
    assert!(!is_alive(rehearsal));
    assert_eq!((pool.ask().as_str(), pool.program.stderr.count("rehearsing the start of")), ("serves-2", 2));
    fs::remove_file(pool.release.path("go")).expect("it was there");
    let workers = pool.program.wait_for_children(2);
    pool.upgrade_to("waits");
    until("the rehearsal runs", || pool.program.children().into_iter().find(|child| !workers.contains(child)));
    pool.program.signal(Signal::SIGUSR2);
    pool.program.stderr.wait_for_nth("an upgrade is in progress; when it is over, the next begins", 2);
    pool.stop();
}

/// Also where the binary between them fails, and the previous one comes back and knows of the request.
#[test]
fn the_newest_binary_runs_in_the_end_though_it_came_while_the_one_before_booted() {
    let pool = Upgrading::start_with("serves-1", |command| command.env("PREFORK_READY_TIMEOUT", "20s"));
    pool.upgrade_to("never-ready");
    pool.program.stderr.wait_for("to take the place of");
    pool.upgrade_to("serves-2");
    pool.program.stderr.wait_for("an upgrade is in progress; when it is over, the next begins");
    pool.wait_for_failure();
    pool.wait_for_upgrade(1);
    assert_eq!(pool.ask(), "serves-2");
    pool.stop();
}

#[test]
fn the_newest_binary_runs_in_the_end_though_it_came_while_the_one_before_replaced_workers() {
    let pool = start("serves-1");
    pool.upgrade_to("serves-2");
    pool.program.stderr.wait_for("upgraded: ");
    pool.upgrade_to("serves-3");
    pool.wait_for_upgrade(2);
    assert_eq!(pool.ask(), "serves-3");
    pool.stop();
}

#[test]
fn a_reload_that_was_asked_for_while_a_binary_booted_is_made_by_the_binary_before() {
    let pool = Upgrading::start_with("serves-1", |command| command.env("PREFORK_READY_TIMEOUT", "10s"));
    pool.upgrade_to("never-ready");
    pool.program.stderr.wait_for("to take the place of");
    pool.program.signal(Signal::SIGHUP);
    pool.program.stderr.wait_for("workers are being replaced already; a reload begins when that is done");
    pool.wait_for_failure();
    let line = pool.program.stderr.wait_for("reload done after");
    assert!(line.ends_with("2 workers were replaced"), "{line}");
    assert_eq!(pool.ask(), "serves-1");
    pool.stop();
}

#[test]
fn signals_that_come_meanwhile_are_not_lost() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut pool = start("serves-1");
        pool.upgrade_to("serves-2");
        pool.program.stderr.wait_for("the rehearsal was good");
        pool.program.signal(signal);
        assert_eq!(pool.program.exit_code(), 0, "{:#?}", pool.program.stderr.all());
        pool.program.stderr.wait_for(&format!("stopped by {signal} from pid"));
        pool.program.wait_until_empty();
    }
}
