//! Clients that send half a request and wait do not keep the example `http` from serving others.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use support::http::{self, address_in};
use support::session::Session;
use support::{clean_command, until};

/// How many descriptors the worker may have open, and how many clients send half a request.
const DESCRIPTORS: usize = 64;
const CLIENTS: usize = 100;

fn is_answered(address: SocketAddr) -> bool {
    let ask = || {
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).map(|()| answer)
    };
    ask().is_ok_and(|answer: [u8; 12]| &answer == b"HTTP/1.1 200")
}

#[test]
fn clients_that_never_finish_their_request_keep_no_other_from_being_served() {
    let mut command = clean_command("/bin/sh");
    command.args(["-c", &format!("ulimit -n {DESCRIPTORS}; exec \"$0\"")]).arg(http::http());
    let mut program = Session::start(command.env("PREFORK_LISTEN", "127.0.0.1:0").env("PREFORK_WORKERS", "1"));
    let address = address_in(&program.stderr.wait_for("listening on "));
    program.stderr.wait_for("ready after");
    let halves: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut half = TcpStream::connect(address).expect("the queue has room");
            half.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").expect("there is room for that");
            half
        })
        .collect();
    until("a client is answered", || is_answered(address).then_some(()));
    drop(halves);
    program.stop();
}
