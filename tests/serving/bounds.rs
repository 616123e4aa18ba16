//! Slow, silent and idle clients do not keep others out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::support::{clean_command, fixture, line, until};
use crate::{Connection, Serving};

#[test]
fn a_head_that_does_not_come_in_time_closes_its_connection_and_a_kept_one_waits_longer() {
    let mut serving = Serving::start(&[("HEADER_TIMEOUT", "1000")]);
    let before = Instant::now();
    let (mut kept, mut silent, mut half, mut later) =
        (serving.connect(), serving.connect(), serving.connect(), serving.connect());
    for connection in [&mut kept, &mut later] {
        connection.send("/");
        connection.answer();
    }
    half.write("GET / HTTP/1.1\r\n");
    silent.wait_until_closed();
    half.wait_until_closed();
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    // The head of a later request has as long, from its first byte on.
    let before = Instant::now();
    later.write("GET / HTTP");
    later.wait_until_closed();
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert!(kept.is_open());
    kept.send("/");
    kept.answer();
    serving.stop();
}

#[test]
fn a_connection_without_a_request_is_closed_after_the_idle_time() {
    let mut serving = Serving::start(&[("IDLE_TIMEOUT", "1000"), ("HEADER_TIMEOUT", "60000")]);
    let (mut kept, mut busy) = (serving.connect(), serving.connect());
    busy.send("/never");
    kept.send("/");
    let before = Instant::now();
    kept.answer();
    kept.wait_until_closed();
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert!(busy.is_open());
    drop(busy);
    serving.stop();
}

#[test]
fn at_the_bound_the_connection_that_is_idle_for_the_longest_is_closed() {
    let mut serving = Serving::start(&[("MAX_CONNECTIONS", "3")]);
    let answered = || {
        let mut connection = serving.connect();
        connection.send("/");
        connection.answer();
        connection
    };
    let (mut first, mut second, mut third) = (answered(), answered(), answered());
    assert!(first.is_open() && second.is_open() && third.is_open());
    first.send("/");
    first.answer();
    let mut fourth = answered();
    second.wait_until_closed();
    for connection in [&mut first, &mut third, &mut fourth] {
        connection.send("/");
        connection.answer();
    }
    serving.stop();
}

#[test]
fn where_all_connections_are_busy_the_next_one_waits() {
    let mut serving = Serving::start(&[("MAX_CONNECTIONS", "2")]);
    let (mut busy, mut other) = (serving.connect(), serving.connect());
    for connection in [&mut busy, &mut other] {
        connection.send("/stream");
        connection.head().expect("an answer has begun");
    }
    let mut waits = serving.connect();
    waits.send("/");
    drop(busy);
    waits.answer();
    assert!(other.is_open());
    drop(other);
    serving.stop();
}

/// A server with at most this many descriptors, whose clients have an hour for their heads.
fn limited(descriptors: usize) -> Serving {
    let mut command = clean_command("/bin/sh");
    command.args(["-c", &format!("ulimit -n {descriptors}; exec {}", line(&fixture("serving")))]);
    Serving::start_command(command.env("HEADER_TIMEOUT", "3600000"))
}

#[test]
fn thousands_of_slow_clients_do_not_keep_good_requests_out() {
    let clients = std::env::var("SLOW_CLIENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let mut serving = limited(256);
    let mut slow = VecDeque::new();
    let before = Instant::now();
    let mut slowest = Duration::ZERO;
    for client in 0..clients {
        let mut half = serving.connect();
        half.write("GET / HTTP/1.1\r\nHost: localhost\r\n");
        slow.push_back(half);
        // The test may have fewer descriptors than clients; the server has fewer still.
        if slow.len() > 400 {
            slow.pop_front();
        }
        if client % 50 == 49 {
            let before = Instant::now();
            assert!(serving.is_answered(), "after {client} slow clients");
            slowest = slowest.max(before.elapsed());
        }
    }
    println!("{clients} slow clients in {:?}, the slowest good answer took {slowest:?}", before.elapsed());
    drop(slow);
    serving.program.stop();
    assert_eq!(serving.program.stderr.count("cannot accept"), 0, "{:#?}", serving.program.stderr.all());
    serving.wait_for_the_end();
}

#[test]
fn where_descriptors_are_short_an_idle_connection_is_closed_and_one_line_says_so() {
    let mut serving = limited(64);
    let (mut idle, mut hoard) = (serving.connect(), serving.connect());
    idle.send("/");
    idle.answer();
    hoard.send("/hoard");
    let (_, body) = hoard.answer();
    assert!(body.contains("Too many open files"), "{body}");
    let mut next = serving.connect();
    next.send("/");
    next.answer();
    idle.wait_until_closed();
    let mut last = serving.connect();
    last.send("/");
    last.answer();
    hoard.wait_until_closed();
    let said = serving.program.stderr.wait_for("cannot accept a connection: accept(2) failed: Too many open files");
    assert!(said.contains("worker 0 (pid ") && said.contains("idle for the longest"), "{said}");
    serving.program.stop();
    assert_eq!(serving.program.stderr.count("cannot accept"), 1, "{:#?}", serving.program.stderr.all());
    serving.wait_for_the_end();
}

#[test]
fn a_head_that_is_too_long_is_answered_with_431() {
    let mut serving = Serving::start(&[]);
    let mut long: Connection = serving.connect();
    long.write("GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
    // The server may close before it has read all of it.
    let _ = std::io::Write::write_all(long.0.get_mut(), "x".repeat(70_000).as_bytes());
    until("an answer", || Some(long.head()?.starts_with("HTTP/1.1 431")).filter(|&is_refused| is_refused));
    serving.stop();
}
