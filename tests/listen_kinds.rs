//! TCP, Unix and UDP sockets, names for them, host names, and the types of tokio: what is asked for is what is given, or
//! nothing is forked.

mod support;
use support::{DEADLINE, Program, fixture, own_path, until, words};

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::unistd::geteuid;

/// A directory of this test's own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Directory {
        let path = own_path(&format!("kinds-{test}"));
        std::fs::create_dir(&path).expect("a directory");
        Directory(path)
    }

    fn socket(&self) -> String {
        self.0.join("app.sock").to_str().expect("text").to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The address that the log names after this: "admin=", "udp:".
fn address(program: &Program, prefix: &str) -> SocketAddr {
    let line = program.stderr.wait_for(&format!("listening on {prefix}127."));
    let (_, address) = line.split_once(&format!("listening on {prefix}")).expect("an address");
    address.parse().expect("an address")
}

fn ask(mut connection: impl Read) -> Option<usize> {
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.trim().parse().ok()
}

fn ask_tcp(address: SocketAddr) -> Option<usize> {
    ask(TcpStream::connect(address).expect("a listener"))
}

fn ask_unix(path: &str) -> Option<usize> {
    ask(UnixStream::connect(path).expect("a listener"))
}

fn ask_udp(address: SocketAddr) -> Option<usize> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time");
    socket.send_to(b"?", address).expect("sent");
    let mut answer = [0; 16];
    let count = match socket.recv(&mut answer) {
        // A test that was stopped goes on.
        Err(error) if error.kind() == ErrorKind::Interrupted => return None,
        result => result.expect("an answer"),
    };
    std::str::from_utf8(&answer[..count]).ok()?.trim().parse().ok()
}

/// Asks until both workers have answered.
fn both_answer(ask: impl Fn() -> Option<usize>) {
    let mut answered = [false; 2];
    until("both workers have answered", || {
        answered[ask()?] = true;
        (answered == [true; 2]).then_some(())
    });
}

fn stops(mut program: Program) {
    program.stop();
}

/// The last line of a program that was refused, which forked nothing.
fn refusal(program: &mut Program, code: i32) -> String {
    assert_eq!(program.exit_code(), code, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.all(), [""; 0]);
    program.stderr.all().pop().expect("a line")
}

#[test]
fn one_of_each_kind_is_given_by_type() {
    for how in ["builder", "attribute"] {
        let directory = Directory::new(&format!("each-{how}"));
        let path = directory.socket();
        let listen = format!("127.0.0.1:0,unix:{path},udp:127.0.0.1:0");
        let program = Program::start(fixture("listens-to-each-kind").args([how, &listen]));
        let (tcp, udp) = (address(&program, ""), address(&program, "udp:"));
        assert_ne!((tcp.port(), udp.port()), (0, 0));
        program.stderr.wait_for(&format!("listening on unix:{path}"));
        both_answer(|| ask_tcp(tcp));
        both_answer(|| ask_unix(&path));
        both_answer(|| ask_udp(udp));
        stops(program);
    }
}

#[test]
fn each_socket_is_given_by_name_wherever_the_name_is_from() {
    for how in ["names", "names-by-attribute", "names by the environment"] {
        let directory = Directory::new(&how.replace(' ', "-"));
        let path = directory.socket();
        let listen = format!("dns=udp:127.0.0.1:0, admin=127.0.0.1:0, local=unix:{path}, public=127.0.0.2:0");
        let mut command = fixture("listens-to-each-kind");
        match how.split_once(' ') {
            Some((how, _)) => command.args([how, "127.0.0.1:9"]).env("PREFORK_LISTEN", &listen),
            None => command.args([how, &listen]),
        };
        let program = Program::start(&mut command);
        let (admin, public) = (address(&program, "admin="), address(&program, "public="));
        assert!(admin.to_string().starts_with("127.0.0.1:") && public.to_string().starts_with("127.0.0.2:"));
        program.stderr.wait_for(&format!("listening on local=unix:{path}"));
        let dns = address(&program, "dns=udp:");
        both_answer(|| ask_tcp(admin));
        both_answer(|| ask_tcp(public));
        both_answer(|| ask_unix(&path));
        both_answer(|| ask_udp(dns));
        stops(program);
    }
}

#[test]
fn what_is_not_there_is_refused_in_words_that_say_what_there_is() {
    let mut command = fixture("listens-to-each-kind");
    command.args(["asks", "web=127.0.0.1:0, dns=udp:127.0.0.1:0, 127.0.0.1:0"]).env("PREFORK_WORKERS", "1");
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    for line in [
        "web: given",
        "all of web: the TcpListener called \"web\" was given before in this worker",
        "web as Unix: a UnixListener called \"web\" is asked for, but in listen that is an address: ask for a TcpListener",
        "dns: given",
        "dns again: the UdpSocket called \"dns\" was given before",
        "the TCP one: a TcpListener is asked for, but listen has 2 addresses: ask for Vec<TcpListener>, or for each by its name",
        "the Unix one: a UnixListener is asked for, but listen has no Unix socket: give a Unix socket, for example listen = \"unix:",
        "the Unix ones: a UnixListener is asked for, but listen has no Unix socket",
    ] {
        program.stdout.wait_for(line);
    }
    let mut program = Program::start(command.env("PREFORK_LISTEN", "127.0.0.1:0,a=127.0.0.1:0,b=udp:127.0.0.1:0"));
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("web: a TcpListener called \"web\" is asked for, but listen has the names a, b: name the");
}

#[test]
fn arguments_that_do_not_match_are_refused_before_the_fork() {
    for (listen, says) in [
        ("none", "a TcpListener is asked for, but nothing is listened on: give an address"),
        ("127.0.0.1:0,udp:127.0.0.1:0", "a UnixListener is asked for, but listen has no Unix socket"),
        ("127.0.0.1:0,127.0.0.1:0,unix:/nowhere/a,udp:127.0.0.1:0", "but listen has 2 addresses"),
        ("127.0.0.1:0,unix:/nowhere/a,unix:/nowhere/b,udp:127.0.0.1:0", "but listen has 2 Unix sockets"),
    ] {
        let mut program =
            Program::start(fixture("listens-to-each-kind").args(["attribute", "none"]).env("PREFORK_LISTEN", listen));
        let last = refusal(&mut program, 2);
        assert!(last.contains(says), "{last}");
        assert_eq!(program.stderr.count("listening"), 0, "nothing is bound in vain");
    }
}

#[test]
fn a_host_name_is_all_its_addresses_at_one_port() {
    let mut found: Vec<SocketAddr> = ("localhost", 0).to_socket_addrs().expect("localhost").collect();
    found.sort();
    found.dedup();
    found.retain(|&address| TcpListener::bind(address).is_ok());
    let program = Program::start(fixture("listens-to-each-kind").args(["all-tcp", "localhost:0"]));
    program.stdout.wait_for_nth("serves TCP", 2 * found.len());
    program.stderr.wait_for("are ready after");
    let lines = program.stderr.all();
    let bound = lines.iter().filter_map(|line| line.split_once("listening on ")?.1.parse::<SocketAddr>().ok());
    let mut bound: Vec<SocketAddr> = bound.collect();
    bound.sort();
    assert_eq!(
        bound.iter().map(SocketAddr::ip).collect::<Vec<_>>(),
        found.iter().map(SocketAddr::ip).collect::<Vec<_>>()
    );
    assert!(bound.iter().all(|address| address.port() == bound[0].port() && address.port() != 0), "{bound:?}");
    for address in bound {
        both_answer(|| ask_tcp(address));
    }
    stops(program);
}

#[test]
fn several_addresses_of_a_host_name_are_a_vec() {
    // In a mount namespace of its own, where localhost is two addresses.
    let directory = Directory::new("hosts");
    let hosts = directory.0.join("hosts");
    std::fs::write(&hosts, "127.0.0.1 twofold.test\n127.0.0.2 twofold.test\n").expect("a file");
    if !geteuid().is_root() {
        skip!("only root can replace /etc/hosts for one program");
    }
    let start = |how: &str, listen: &str| {
        let mut command = support::clean_command("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(&hosts);
        command.args(words(&fixture("listens-to-each-kind"))).args([how, listen]);
        Program::start(&mut command)
    };
    let can = start("asks", "127.0.0.1:0").wait().success();
    if !can {
        skip!("there are no mount namespaces here");
    }
    let program = start("all-tcp", "twofold.test:0");
    program.stderr.wait_for("listening on 127.0.0.2:");
    program.stdout.wait_for_nth("serves TCP", 4);
    let lines = program.stderr.all();
    let bound = lines.iter().filter_map(|line| line.split_once("listening on ")?.1.parse::<SocketAddr>().ok());
    let bound: Vec<SocketAddr> = bound.collect();
    assert_eq!(bound.len(), 2);
    assert_eq!(bound[0].port(), bound[1].port());
    stops(program);
    let mut program = start("asks", "web=twofold.test:0");
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for(
        "web: a TcpListener called \"web\" is asked for, but there are 2 addresses of that name: ask for Vec",
    );
    program.stdout.wait_for("all of web: given");
    let last = refusal(&mut start("all-tcp", "twofold.test:80,127.0.0.2:80"), 2);
    assert!(last.contains("listen: 127.0.0.2:80 is listed twice"), "{last}");
}

#[test]
fn a_host_name_without_an_address_ends_the_start_with_1() {
    let mut program = Program::start(fixture("listens-to-each-kind").args(["tcp", "no-such-host.invalid:80"]));
    let last = refusal(&mut program, 1);
    assert!(last.contains("cannot listen on no-such-host.invalid:80") && last.contains("check the name"), "{last}");
}

#[test]
fn a_udp_address_in_use_is_in_use() {
    // No client of these tests has this address.
    let taken = UdpSocket::bind("127.0.0.3:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let mut program = Program::start(fixture("listens-to-each-kind").args(["udp", &format!("udp:{address}")]));
    let last = refusal(&mut program, 1);
    assert!(last.contains(&format!("udp:{address}")) && last.contains("ss -lunp"), "{last}");
    // This port of the other protocol is another address.
    let program = Program::start(fixture("listens-to-each-kind").args(["tcp", &address.to_string()]));
    both_answer(|| ask_tcp(self::address(&program, "")));
    stops(program);
}

#[test]
fn sockets_of_tokio_s_types_are_given_in_nonblocking_mode() {
    for how in ["attribute", "attribute-threads", "builder", "names"] {
        let directory = Directory::new(&format!("tokio-{how}"));
        let path = directory.socket();
        let listen = format!("public=127.0.0.1:0,local=unix:{path},dns=udp:127.0.0.1:0");
        let program = Program::start(fixture("listens-with-tokio").args([how, &listen]));
        let (tcp, udp) = (address(&program, "public="), address(&program, "dns=udp:"));
        program.stdout.wait_for_nth("nonblocking: true", 6);
        both_answer(|| ask_tcp(tcp));
        both_answer(|| ask_unix(&path));
        both_answer(|| ask_udp(udp));
        stops(program);
    }
}

#[test]
fn a_type_of_tokio_outside_a_runtime_is_an_error_and_not_lost() {
    let mut program = Program::start(fixture("listens-with-tokio").args(["outside", "127.0.0.1:0"]));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.count("outside: a tokio::net::TcpListener is asked for outside a tokio runtime"), 2);
    assert_eq!(program.stdout.count("inside: Ok(())"), 2);
}

#[test]
fn both_modes_of_one_socket_are_refused_before_the_fork() {
    let mut program = Program::start(fixture("listens-with-tokio").args(["conflict", "127.0.0.1:0"]));
    let last = refusal(&mut program, 2);
    assert!(last.contains("the TcpListener of the standard library and another that of tokio"), "{last}");
}
