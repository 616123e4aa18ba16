//! Upgrades of pools whose slots have sockets of their own, and of those that were started with sockets: whoever waits is
//! answered.

mod support;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use support::activation::with_sockets;
use support::http::{Client, thousands, under_load};
use support::upgrading::{Upgrading, ask, asks_the_fixture};
use support::{Signal, until};

const FIXTURE: &str = env!("CARGO_BIN_EXE_upgrades");

#[test]
fn no_connection_is_lost_while_slots_with_sockets_of_their_own_change_hands() {
    let pool = Upgrading::start(FIXTURE, "per-slot-1");
    let client: Client<'_> = &asks_the_fixture;
    let seen = under_load(&[client; 4], pool.address, |seen| {
        for (nth, signal) in (1..).zip([Signal::SIGTTIN, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGTTIN]) {
            pool.program.signal(signal);
            pool.program.stderr.wait_for_nth(" instead of ", nth);
            pool.upgrade_to(FIXTURE, &format!("per-slot-{}", nth + 1));
            pool.wait_for_upgrade(nth);
        }
        let is_over = || thousands(seen) || !seen.failures.lock().unwrap().is_empty();
        until("there are thousands of answers", || is_over().then_some(()));
    });
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{:#?}", pool.program.stderr.all());
    until("all slots have workers", || (pool.program.children().len() == 4).then_some(()));
    assert_eq!(pool.ask(), "per-slot-5");
    pool.stop();
}

#[test]
fn a_new_binary_that_fails_gives_the_sockets_of_slots_back() {
    let pool = Upgrading::start(FIXTURE, "per-slot-1");
    let client: Client<'_> = &asks_the_fixture;
    let seen = under_load(&[client; 4], pool.address, |_| {
        pool.upgrade_to(FIXTURE, "per-slot-dies");
        pool.wait_for_failure();
        // All that is done with sockets still works: one more slot, one fewer, and fresh workers.
        pool.program.signal(Signal::SIGTTIN);
        pool.program.stdout.wait_for("per-slot-1 2");
        pool.program.signal(Signal::SIGTTOU);
        pool.program.stderr.wait_for(", stopped");
        pool.program.signal(Signal::SIGHUP);
        pool.program.stderr.wait_for("reload done after");
    });
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{:#?}", pool.program.stderr.all());
    assert_eq!(seen.words.lock().unwrap().iter().collect::<Vec<_>>(), ["per-slot-1"]);
    pool.stop();
}

#[test]
fn a_new_binary_that_wants_more_workers_gets_sockets_for_them() {
    let pool = Upgrading::start(FIXTURE, "per-slot-1");
    pool.upgrade_to(FIXTURE, "per-slot-wants-4");
    pool.wait_for_upgrade(1);
    for task_id in 0..4 {
        pool.program.stdout.wait_for(&format!("per-slot-wants-4 {task_id} "));
    }
    pool.upgrade_to(FIXTURE, "per-slot-2");
    pool.wait_for_upgrade(2);
    pool.program.wait_for_children(2);
    assert_eq!(pool.ask(), "per-slot-2");
    pool.stop();
}

#[test]
fn whether_slots_have_sockets_of_their_own_is_no_matter_of_an_upgrade() {
    for (before, after, has) in [
        ("serves-1", "per-slot-1", "one socket that all workers share"),
        ("per-slot-1", "serves-1", "a socket for each"),
    ] {
        let pool = Upgrading::start(FIXTURE, before);
        pool.upgrade_to(FIXTURE, after);
        let line = pool.wait_for_failure();
        assert!(line.contains("reuse_port: at 127.0.0.1:0 the running pool has") && line.contains(has), "{line}");
        assert_eq!(pool.ask(), before);
        pool.stop();
    }
}

#[test]
fn sockets_that_a_program_was_started_with_stay_through_upgrades_and_the_way_back() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let socket = OwnedFd::from(listener);
    let pool = Upgrading::start_as(FIXTURE, "serves-1", |command| with_sockets(&command, &[("web", &socket)]));
    drop(socket);
    assert_eq!(pool.address, address);
    let client: Client<'_> = &asks_the_fixture;
    let seen = under_load(&[client; 2], address, |_| {
        pool.upgrade_to(FIXTURE, "serves-2");
        pool.wait_for_upgrade(1);
        pool.upgrade_to(FIXTURE, "dies");
        pool.wait_for_failure();
        pool.upgrade_to(FIXTURE, "serves-3");
        pool.wait_for_upgrade(2);
    });
    assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{:#?}", pool.program.stderr.all());
    assert_eq!(ask(address).expect("an answer"), "serves-3");
    // A binary that listens on more than came is told so, and nothing has changed.
    pool.upgrade_to(FIXTURE, "listens-to-two");
    let line = pool.program.stderr.wait_for("are not those of listen");
    assert!(line.contains("upgrade abandoned: "), "{line}");
    assert_eq!(pool.ask(), "serves-3");
    pool.stop();
}
