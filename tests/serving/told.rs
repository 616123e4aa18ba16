//! Upgraded connections and panics: what a handler learns, and what is waited for.

use crate::Serving;
use crate::support::Signal;

const UPGRADE: &str = "GET /upgrade HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: talk\r\n\r\n";

#[test]
fn an_upgraded_connection_is_told_and_waited_for() {
    // The connection is not idle, however short the moment and however long it is silent.
    let mut serving = Serving::start(&[("DRAIN_IDLE_TIMEOUT", "0"), ("IDLE_TIMEOUT", "0"), ("MAX_CONNECTIONS", "2")]);
    let mut upgraded = serving.connect();
    upgraded.write(UPGRADE);
    let head = upgraded.head().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("connection: upgrade"), "{head}");
    for _ in 0..3 {
        assert!(serving.is_answered());
    }
    serving.program.signal(Signal::SIGTERM);
    assert_eq!(upgraded.line().as_deref(), Some("good-bye"));
    // The worker has not returned: it would have printed that first.
    upgraded.write("!");
    serving.wait_for_the_end();
    let lines = serving.program.stdout.all();
    assert!(lines[0] == "the client has answered" && lines[1].contains(" served "), "{lines:?}");
}

#[test]
fn a_panic_ends_its_connection_and_no_other() {
    let mut serving = Serving::start(&[]);
    let (mut bystander, mut victim) = (serving.connect(), serving.connect());
    victim.send("/panic");
    victim.wait_until_closed();
    bystander.send("/");
    assert!(bystander.answer().0.starts_with("HTTP/1.1 200"));
    serving.stop();
}
