//! `prefork_rt::hyper::serve`: what clients see of it while it serves, at its bounds, and when its worker is told to stop.

#[path = "../support/mod.rs"]
mod support;

mod balance;
mod bounds;
mod drain;
mod http2;
mod idle;
mod load;
mod told;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use support::http::address_in;
use support::session::Session;
use support::{DEADLINE, Signal, fixture};

/// The fixture `serving`, ready.
struct Serving {
    program: Session,
    address: SocketAddr,
}

impl Serving {
    /// With these environment variables.
    fn start(variables: &[(&str, &str)]) -> Serving {
        Serving::start_command(fixture("serving").envs(variables.iter().copied()))
    }

    fn start_command(command: &mut Command) -> Serving {
        let program = Session::start(command);
        let address = address_in(&program.stderr.wait_for("listening on "));
        program.stderr.wait_for("ready after");
        Serving { program, address }
    }

    fn connect(&self) -> Connection {
        Connection::new(self.address)
    }

    /// An answer on a connection of its own.
    fn is_answered(&self) -> bool {
        let mut connection = self.connect();
        connection.send("/");
        connection.head().is_some_and(|head| head.starts_with("HTTP/1.1 200"))
    }

    /// SIGTERM, and an end in order.
    fn stop(&mut self) {
        self.program.signal(Signal::SIGTERM);
        self.wait_for_the_end();
    }

    /// What the worker prints when `serve` has returned, and the end of the pool.
    fn wait_for_the_end(&mut self) {
        self.program.stdout.wait_for(" served ");
        assert_eq!(self.program.exit_code(), 0, "{:#?}", self.program.stderr.all());
        assert_eq!(self.program.stderr.count("killing"), 0, "{:#?}", self.program.stderr.all());
        self.program.wait_until_empty();
    }
}

/// A connection to the server, whose answers are read by hand.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn new(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("an option");
        Connection(BufReader::new(stream))
    }

    fn send(&mut self, path: &str) {
        self.write(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }

    fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("it is open");
    }

    /// The next line. `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).is_ok_and(|length| length > 0).then(|| line.trim_end().to_owned())
    }

    /// The head of an answer, in lower case but for its first line. `None` where the connection was closed instead.
    fn head(&mut self) -> Option<String> {
        let mut head = self.line()?;
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            head.push('\n');
            head.push_str(&line.to_ascii_lowercase());
        }
        Some(head)
    }

    /// An answer of one line: its head and that line.
    fn answer(&mut self) -> (String, String) {
        let head = self.head().expect("an answer");
        (head, self.line().expect("a body of one line"))
    }

    /// Waits until the server closes it, without another word.
    fn wait_until_closed(&mut self) {
        let mut rest = Vec::new();
        // A connection may end by a reset.
        let _ = self.0.read_to_end(&mut rest);
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Whether it is closed, and nothing has come on it.
    fn is_open(&mut self) -> bool {
        self.0.get_ref().set_nonblocking(true).expect("an option");
        let result = self.0.fill_buf().map(<[u8]>::len);
        self.0.get_ref().set_nonblocking(false).expect("an option");
        result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}
