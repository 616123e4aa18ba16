//! HTTP/2, with clients that do as they like: frames by hand (RFC 9113, 4.1 and 6).

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::Signal;
use crate::{Connection, Serving};

const PING: u8 = 6;
const GOAWAY: u8 = 7;
const IS_ANSWER: u8 = 1;

/// A connection of HTTP/2 that has begun, without a request.
fn greeted(serving: &Serving) -> Connection {
    let mut connection = serving.connect();
    connection.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    connection.write("\0\0\0\x04\0\0\0\0\0"); // SETTINGS, empty
    connection
}

/// Waits for a frame of this kind, and returns its flags.
fn wait_for_frame(connection: &mut Connection, kind: u8) -> u8 {
    loop {
        let mut header = [0; 9];
        connection.0.read_exact(&mut header).expect("a frame");
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        connection.0.read_exact(&mut vec![0; length as usize]).expect("its content");
        if header[3] == kind {
            return header[4];
        }
    }
}

/// Whether the server answers a PING.
fn answers(connection: &mut Connection) -> bool {
    let ping = [0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    connection.0.get_mut().write_all(&ping).expect("it is open");
    wait_for_frame(connection, PING) == IS_ANSWER
}

#[test]
fn a_client_without_a_request_is_told_at_once_that_the_worker_stops() {
    let mut serving = Serving::start(&[("DRAIN_IDLE_TIMEOUT", "3600000")]);
    let mut idle = greeted(&serving);
    assert!(answers(&mut idle));
    serving.program.signal(Signal::SIGTERM);
    wait_for_frame(&mut idle, GOAWAY);
    drop(idle);
    serving.wait_for_the_end();
}

#[test]
fn a_client_that_does_not_answer_at_the_stop_is_closed_a_moment_later() {
    let mut serving = Serving::start(&[("DRAIN_IDLE_TIMEOUT", "500")]);
    let mut idle = greeted(&serving);
    assert!(answers(&mut idle));
    let before = Instant::now();
    serving.program.signal(Signal::SIGTERM);
    wait_for_frame(&mut idle, GOAWAY);
    serving.wait_for_the_end();
    assert!(before.elapsed() >= Duration::from_millis(500), "{:?}", before.elapsed());
}

#[test]
fn a_client_without_a_request_is_idle_and_not_late_with_a_head() {
    let mut serving = Serving::start(&[("HEADER_TIMEOUT", "500")]);
    let mut idle = greeted(&serving);
    assert!(answers(&mut idle));
    // Its time for a head would be over, too.
    serving.connect().wait_until_closed();
    assert!(answers(&mut idle));
    drop(idle);
    serving.stop();
}

#[test]
fn half_a_preface_is_a_head_that_does_not_come() {
    let mut serving = Serving::start(&[("HEADER_TIMEOUT", "500")]);
    let mut half = serving.connect();
    half.write("PRI * HTTP/2.0\r\n");
    half.wait_until_closed();
    serving.stop();
}

#[test]
fn clients_that_answer_nothing_give_way_to_others_at_the_bound() {
    let mut serving = Serving::start(&[("MAX_CONNECTIONS", "2"), ("DRAIN_IDLE_TIMEOUT", "500")]);
    let mut silent: Vec<_> = (0..8)
        .map(|_| {
            let mut greeted = greeted(&serving);
            assert!(answers(&mut greeted));
            greeted
        })
        .collect();
    assert!(serving.is_answered());
    // The first ones were told.
    wait_for_frame(&mut silent[0], GOAWAY);
    drop(silent);
    serving.stop();
}
