//! The stop: what is answered, what is closed, and when.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::session::Session;
use crate::support::{Signal, fixture, until};
use crate::{Connection, Serving};

/// A connection on which one request was answered.
fn kept(serving: &Serving) -> Connection {
    let mut connection = serving.connect();
    connection.send("/");
    let (head, _) = connection.answer();
    assert!(!head.contains("connection:"), "{head}");
    connection
}

fn stop(serving: &Serving) -> Instant {
    let before = Instant::now();
    serving.program.signal(Signal::SIGTERM);
    before
}

#[test]
fn from_the_stop_on_each_answer_says_that_its_connection_closes() {
    let mut serving = Serving::start(&[("DRAIN_IDLE_TIMEOUT", "60000")]);
    let (mut connection, mut other) = (kept(&serving), kept(&serving));
    let mut late = serving.connect();
    late.send("/late");
    // It is in flight once another one is answered that came later.
    other.send("/");
    other.answer();
    stop(&serving);
    let (head, body) = late.answer();
    assert!(head.contains("connection: close") && body == "late", "{head} {body}");
    late.wait_until_closed();
    // The worker was told to stop: `late` knows.
    for connection in [&mut connection, &mut other] {
        connection.send("/");
        let (head, body) = connection.answer();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close"), "{head} {body}");
        connection.wait_until_closed();
    }
    serving.wait_for_the_end();
}

#[test]
fn from_the_stop_on_it_does_not_listen() {
    let mut serving = Serving::start(&[("DRAIN_IDLE_TIMEOUT", "60000")]);
    let connection = kept(&serving);
    stop(&serving);
    until("connections are refused", || TcpStream::connect(serving.address).is_err().then_some(()));
    drop(connection);
    serving.wait_for_the_end();
}

#[test]
fn an_idle_connection_is_closed_a_moment_after_the_stop_and_not_before() {
    for connect in [kept, |serving: &Serving| serving.connect()] {
        let mut serving = Serving::start(&[("DRAIN_IDLE_TIMEOUT", "1500")]);
        let mut connection = connect(&serving);
        // Both were accepted.
        assert!(serving.is_answered());
        let before = stop(&serving);
        connection.wait_until_closed();
        let waited = before.elapsed();
        assert!(waited >= Duration::from_millis(1500), "{waited:?}");
        serving.wait_for_the_end();
    }
}

/// The connection is closed after half of that time.
#[test]
fn a_worker_with_little_time_is_not_killed_for_an_idle_connection() {
    let mut serving = Serving::start(&[("PREFORK_GRACEFUL_TIMEOUT", "10s"), ("DRAIN_IDLE_TIMEOUT", "60000")]);
    let mut connection = kept(&serving);
    let before = stop(&serving);
    connection.wait_until_closed();
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(5), "{waited:?}");
    serving.wait_for_the_end();
}

#[test]
fn a_request_that_has_begun_to_come_is_answered() {
    let mut serving = Serving::start(&[("DRAIN_IDLE_TIMEOUT", "100"), ("HEADER_TIMEOUT", "60000")]);
    let (mut half, mut idle) = (serving.connect(), kept(&serving));
    half.write("GET / HTTP/1.1\r\n");
    assert!(serving.is_answered());
    stop(&serving);
    idle.wait_until_closed();
    half.write("Host: localhost\r\n\r\n");
    let (head, _) = half.answer();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close"), "{head}");
    serving.wait_for_the_end();
}

/// The answer has begun before the stop, so its head says nothing.
#[test]
fn an_answer_that_goes_on_is_finished() {
    let mut serving = Serving::start(&[("DRAIN_IDLE_TIMEOUT", "100")]);
    let mut stream = serving.connect();
    stream.send("/stream");
    let head = stream.head().expect("a head");
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let mut late = serving.connect();
    late.send("/late");
    assert!(serving.is_answered());
    stop(&serving);
    assert_eq!(stream.line().as_deref(), Some("4"));
    assert_eq!(stream.line().as_deref(), Some("end"));
    assert!(late.head().is_some());
    serving.wait_for_the_end();
}

#[test]
fn it_works_in_a_runtime_of_several_threads() {
    let mut serving = Serving::start(&[("THREADS", "2"), ("DRAIN_IDLE_TIMEOUT", "100")]);
    let mut late = serving.connect();
    late.send("/late");
    assert!(serving.is_answered());
    stop(&serving);
    assert_eq!(late.answer().1, "late");
    serving.wait_for_the_end();
}

#[test]
fn it_works_without_a_supervisor() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let mut command = fixture("serving");
    command.env("PREFORK", "off").env("PREFORK_LISTEN", port.to_string()).env("DRAIN_IDLE_TIMEOUT", "100");
    let mut program = Session::start(&mut command);
    let is_there = || TcpStream::connect(port).is_ok().then_some(());
    until("it listens", is_there);
    let mut late = Connection::new(port);
    late.send("/late");
    let mut other = Connection::new(port);
    other.send("/");
    other.answer();
    program.signal(Signal::SIGTERM);
    assert_eq!(late.answer().1, "late");
    program.stdout.wait_for(" served 1 requests");
    assert_eq!(program.exit_code(), 0);
}
