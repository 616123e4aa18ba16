//! Addresses are bound once, before the first fork, and each worker is handed its listener.

mod support;
use support::before_exec::without_ipv6;
use support::{Program, Signal, descriptors_of, fixture, send, until};

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

/// The addresses that the log names, in their order.
fn addresses(program: &Program) -> Vec<SocketAddr> {
    let lines = program.stderr.all();
    let named = lines.iter().filter_map(|line| line.split_once("listening on ")?.1.parse().ok());
    named.collect()
}

fn address(program: &Program) -> SocketAddr {
    program.stderr.wait_for("listening on ");
    addresses(program)[0]
}

/// Which worker answers a connection.
fn ask(address: SocketAddr) -> Option<usize> {
    let mut answer = String::new();
    let mut connection = TcpStream::connect(address).expect("a listener");
    connection.set_read_timeout(Some(support::DEADLINE)).expect("a time");
    // A worker that was killed has answered nothing.
    connection.read_to_string(&mut answer).ok()?;
    answer.trim().parse().ok()
}

/// Connects until each of 3 workers has answered.
fn all_answer(address: SocketAddr) {
    let mut answered = [false; 3];
    until("all workers have answered", || {
        answered[ask(address)?] = true;
        (answered == [true; 3]).then_some(())
    });
}

fn listens(how: &str, addresses: &str) -> Program {
    Program::start(fixture("listens").arg(how).env("PREFORK_LISTEN", addresses))
}

fn stops(mut program: Program) {
    program.stop();
}

#[test]
fn an_address_is_bound_once_before_the_first_fork_and_every_worker_accepts() {
    let program = listens("one", "127.0.0.1:0");
    let address = address(&program);
    assert_ne!(address.port(), 0, "the chosen port is logged");
    all_answer(address);
    assert_eq!(program.stderr.count("listening on"), 1);
    program.stdout.wait_for_nth("serves", 3);
    assert_eq!(program.stdout.count("serves"), 3);
    stops(program);
}

#[test]
fn a_replacement_accepts_at_the_same_address() {
    let program = listens("one", "127.0.0.1:0");
    let address = address(&program);
    let first = program.stdout.wait_for("task 1 pid ");
    send(first.split(' ').nth(3).expect("a pid").parse().expect("a number"), Signal::SIGKILL);
    program.stdout.wait_for_nth("task 1 pid ", 2);
    all_answer(address);
    assert_eq!(program.stderr.count("listening on"), 1);
    stops(program);
}

#[test]
fn an_ipv6_address_is_listened_on() {
    if TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("skipped: there is no IPv6 here");
    }
    let program = listens("one", "[::1]:0");
    let address = address(&program);
    assert!(address.is_ipv6());
    all_answer(address);
    stops(program);
}

#[test]
fn several_addresses_come_as_a_vec_in_their_order() {
    let program = listens("all", "127.0.0.1:0,127.0.0.2:0");
    program.stderr.wait_for("listening on 127.0.0.2:");
    let addresses = addresses(&program);
    assert!(addresses[0].to_string().starts_with("127.0.0.1:"));
    assert_eq!(addresses.len(), 2);
    addresses.into_iter().for_each(all_answer);
    stops(program);
}

#[test]
fn one_address_comes_as_a_vec_too() {
    let program = listens("all", "127.0.0.1:0");
    all_answer(address(&program));
    stops(program);
}

#[test]
fn every_interface_of_both_families_can_have_the_same_port() {
    if TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("skipped: there is no IPv6 here");
    }
    // Alone the IPv6 address serves both, as elsewhere.
    for addresses in ["[::]:PORT,0.0.0.0:PORT", "0.0.0.0:PORT,[::]:PORT", "[::]:PORT"] {
        // Another process may have the port by then, or have it on another interface: then with another one.
        until("it listens", || {
            let port = outside_the_ephemeral_range().local_addr().expect("an address").port();
            let program = listens("all", &addresses.replace("PORT", &port.to_string()));
            let listens = until("it listens or has given up", || {
                let listens = program.stderr.count("listening on ") == addresses.split(',').count();
                (listens || program.stderr.count("cannot listen") > 0).then_some(listens)
            });
            listens.then(|| {
                program.stderr.wait_for("listening on [::]:");
                all_answer(SocketAddr::from(([127, 0, 0, 1], port)));
                all_answer(format!("[::1]:{port}").parse().expect("an address"));
                stops(program);
            })
        });
    }
}

/// The port that the system chose for every address.
fn port(program: &Program, every: &str) -> u16 {
    let line = program.stderr.wait_for(&format!("listening on {every}:"));
    line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

/// So that main can ask for one listener on every machine.
#[test]
fn a_star_is_one_listener_for_every_address_of_each_family_that_there_is() {
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    for star in ["*:0", ":0"] {
        let program = listens("one", star);
        let port = port(&program, if has_ipv6 { "[::]" } else { "0.0.0.0" });
        all_answer(SocketAddr::from(([127, 0, 0, 1], port)));
        all_answer(SocketAddr::from(([127, 0, 0, 2], port)));
        if has_ipv6 {
            all_answer(format!("[::1]:{port}").parse().expect("an address"));
        }
        stops(program);
    }
    let mut command = fixture("listens-to-each-kind");
    let mut program = Program::start(command.args(["udp", "udp:*:0"]));
    let port = port(&program, if has_ipv6 { "udp:[::]" } else { "udp:0.0.0.0" });
    for address in [Some("127.0.0.1"), Some("::1").filter(|_| has_ipv6)].into_iter().flatten() {
        let at = SocketAddr::new(address.parse().expect("an address"), port);
        let client = UdpSocket::bind(SocketAddr::new(at.ip(), 0)).expect("a socket");
        client.set_read_timeout(Some(support::DEADLINE)).expect("a time");
        client.send_to(b"?", at).expect("sent");
        client.recv(&mut [0; 16]).expect("an answer");
    }
    program.stop();
}

#[test]
fn without_ipv6_a_star_is_every_ipv4_address_and_an_ipv6_address_is_refused_with_what_to_write() {
    let mut command = fixture("listens");
    let mut program = Program::start(without_ipv6(command.arg("one").env("PREFORK_LISTEN", "*:0")));
    let port = port(&program, "0.0.0.0");
    all_answer(SocketAddr::from(([127, 0, 0, 1], port)));
    program.stop();
    for address in ["[::]:0", "[::1]:0"] {
        let mut command = fixture("listens");
        let mut program = Program::start(without_ipv6(command.arg("one").env("PREFORK_LISTEN", address)));
        assert_eq!(program.exit_code(), 1);
        let last = program.stderr.all().pop().expect("a line");
        assert!(last.contains(address) && last.contains("IPv6 is switched off") && last.contains("0.0.0.0"), "{last}");
    }
}

#[test]
fn an_address_that_a_star_has_already_is_a_mistake() {
    for (listen, star, other) in [
        ("*:8080,a=127.0.0.1:8080", "*:8080", "a=127.0.0.1:8080"),
        ("[::1]:8080,web=:8080", "web=*:8080", "[::1]:8080"),
        ("udp:*:53,udp:0.0.0.0:53", "udp:*:53", "udp:0.0.0.0:53"),
    ] {
        let mut program = Program::start(fixture("listens").arg("all").env("PREFORK_LISTEN", listen));
        assert_eq!(program.exit_code(), 2);
        let says = format!("{star} is every address with this port, {other} too: list one of them");
        program.stderr.wait_for(&says);
    }
}

/// A listener whose port the system gives only to a program that asks for it, so that the port stays free once the listener
/// is closed. No two tests have the same port.
fn outside_the_ephemeral_range() -> TcpListener {
    static USED: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 5_000).expect("a small number");
    let next = || first + USED.fetch_add(1, Ordering::Relaxed);
    until("a free port", || TcpListener::bind(("127.0.0.1", next())).ok())
}

#[test]
fn a_worker_is_given_each_listener_once() {
    for how in ["one-twice", "all-twice"] {
        let mut program = listens(how, "127.0.0.1:0");
        assert_eq!(program.exit_code(), 0);
        assert_eq!(program.stdout.count("second time: the TcpListener was given before in this worker"), 3);
        assert_eq!(program.stdout.count("try_clone()"), 3);
    }
}

#[test]
fn asking_for_one_listener_of_two_or_none_is_an_error_that_says_so() {
    for (addresses, says) in [
        ("127.0.0.1:0,127.0.0.1:0", "listen has 2 addresses: ask for Vec<TcpListener>"),
        ("none", "nothing is listened on: give an address"),
    ] {
        let mut program =
            Program::start(fixture("listens").arg("one").env("PREFORK_LISTEN", addresses).env("PREFORK", "off"));
        assert_eq!(program.exit_code(), 1);
        program.stderr.wait_for(says);
    }
}

#[test]
fn an_address_that_stays_in_use_ends_the_start_with_1_and_forks_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut program = listens("one", &format!("127.0.0.1:0,{address}"));
    assert_eq!(program.exit_code(), 1);
    assert_eq!(program.stdout.all(), [""; 0]);
    program.stderr.wait_for(&format!("{address} is in use, trying again"));
    let last = program.stderr.all().pop().expect("a line");
    assert!(last.contains(&address) && last.contains("ddress already in use"), "{last}");
}

#[test]
fn an_address_listed_twice_is_a_mistake_and_not_in_use() {
    let mut program = listens("all", "127.0.0.1:9,127.0.0.1:0,127.0.0.1:9");
    assert_eq!(program.exit_code(), 2);
    program.stderr.wait_for("listen: 127.0.0.1:9 is listed twice");
}

#[test]
fn an_address_that_becomes_free_during_the_tries_is_taken() {
    // On a machine that is too slow for its 2 s, it may have given up: then once more.
    until("it listens", || {
        let taken = outside_the_ephemeral_range();
        let address = taken.local_addr().expect("an address");
        let program = listens("one", &address.to_string());
        program.stderr.wait_for("is in use, trying again");
        drop(taken);
        let listens = until("it listens or has given up", || {
            let listens = program.stderr.count("listening on ") > 0;
            (listens || program.stderr.count("cannot listen") > 0).then_some(listens)
        });
        listens.then(|| {
            all_answer(address);
            stops(program);
        })
    });
}

#[test]
fn an_address_that_cannot_be_had_is_not_tried_again() {
    // 192.0.2.0/24 is for documentation: no interface has it.
    let mut program = listens("one", "192.0.2.1:80");
    assert_eq!(program.exit_code(), 1);
    assert_eq!(program.stdout.all(), [""; 0]);
    assert_eq!(program.stderr.count("trying again"), 0);
    program.stderr.wait_for("192.0.2.1:80");
    program.stderr.wait_for("belongs to no interface");
}

#[test]
fn a_stop_closes_the_supervisors_listener_while_workers_drain() {
    let mut program = Program::start(fixture("drains-when-stopped").env("PREFORK_LISTEN", "127.0.0.1:0"));
    let address = address(&program);
    let mut connection = TcpStream::connect(address).expect("a listener");
    program.stdout.wait_for("accepted");
    program.signal(Signal::SIGTERM);
    program.stdout.wait_for("closed");
    let refused = TcpStream::connect(address).expect_err("no listener");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(program.children().len(), 1, "the worker drains");
    connection.write_all(b"the rest of a request").expect("the connection is open");
    drop(connection);
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("drained");
    program.stderr.wait_for("stopped by SIGTERM");
}

/// What a worker, or a plain program, prints of its descriptors.
fn descriptors(command: &mut Command, who: &str) -> String {
    let program = Program::start(command);
    let line = program.stdout.wait_for(&format!("{who}: "));
    line.split_once(": ").expect("a list").1.to_owned()
}

/// The kinds of what is open in the one and not in the other.
fn more<'a>(descriptors: &'a str, plain: &str) -> Vec<&'a str> {
    let is_new = |open: &&str| !plain.split(", ").any(|other| other == *open);
    let kind = |open: &'a str| open.split_once(' ').map_or(open, |(_, kind)| kind);
    let mut kinds: Vec<&str> = descriptors.split(", ").filter(is_new).map(kind).collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn a_worker_has_the_descriptors_of_a_plain_program_and_one_to_wake_the_supervisor() {
    let plain = descriptors(fixture("lists-descriptors").arg("plain"), "plain");
    for task_id in ["task 0", "task 1"] {
        let worker = descriptors(fixture("lists-descriptors").env("PREFORK_WORKERS", "2"), task_id);
        assert_eq!(more(&worker, &plain), ["pipe"]);
    }
    let alone = descriptors(fixture("lists-descriptors").env("PREFORK", "off"), "task 0");
    assert_eq!(alone, plain);
}

#[test]
fn a_worker_has_its_listener_besides() {
    let opened = |mode| if mode == "off" { &["socket"][..] } else { &["pipe", "socket"] };
    let plain = descriptors(fixture("lists-descriptors").arg("plain"), "plain");
    for mode in ["", "off"] {
        let mut command = fixture("lists-descriptors");
        command.env("PREFORK", mode).env("PREFORK_WORKERS", "1").env("PREFORK_LISTEN", "127.0.0.1:0");
        let with_listener = descriptors(&mut command, "task 0");
        assert_eq!(more(&with_listener, &plain), opened(mode));
    }
}

#[test]
fn the_supervisors_descriptors_do_not_grow_with_the_number_of_workers() {
    let with = |workers: usize| {
        let mut command = fixture("lists-descriptors");
        command.env("PREFORK_WORKERS", workers.to_string()).env("PREFORK_LISTEN", "127.0.0.1:0");
        let program = Program::start(&mut command);
        program.stdout.wait_for_nth("task ", workers);
        program
    };
    let (few, many) = (with(2), with(64));
    // While it starts workers, it opens what it reads.
    let count = |program: &Program| descriptors_of(program.pid()).len();
    until("both have as many", || (count(&few) == count(&many)).then_some(()));
}
