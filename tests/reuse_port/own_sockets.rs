//! Each slot has its own sockets, however they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{SocketAddr, TcpStream, UdpSocket};

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::geteuid;
use socket2::{Domain, Socket, Type};

use crate::sockets::{bound, inodes_of, rows};
use crate::support::before_exec::before_exec;
use crate::support::{DEADLINE, Program, Signal, descriptors_of, fixture, own_path, send, status_of, until};
use crate::{address, answer, answers_at_once, ask, skip};

/// The supervisor holds a socket for each slot at each address; each worker has one of them at each, and no two the same.
fn each_has_its_own(program: &Program, kind: &str, addresses: &[SocketAddr], workers: usize) {
    let pids = program.wait_for_children(workers);
    for &address in addresses {
        let held = bound(program.pid(), kind, address);
        assert_eq!(held.len(), workers, "{address}");
        let mut given = BTreeSet::new();
        for &pid in &pids {
            // It closes the others' first.
            let own = until("it has only its own", || Some(bound(pid, kind, address)).filter(|own| own.len() == 1));
            given.extend(own);
        }
        assert_eq!(given, held, "{kind} {address}");
    }
}

#[test]
fn each_slot_has_its_own_sockets_and_the_supervisor_holds_them_all() {
    let listen = "127.0.0.1:0,127.0.0.2:0";
    let mut command = fixture("listens");
    command.arg("all").env("PREFORK_LISTEN", listen).env("PREFORK_REUSE_PORT", "true");
    let mut program = Program::start(&mut command);
    program.stderr.wait_for("listening on 127.0.0.2:");
    let listening = rows("tcp").into_iter().filter(|row| row.listens);
    let held = inodes_of(program.pid());
    let addresses: BTreeSet<SocketAddr> =
        listening.filter(|row| held.contains(&row.inode)).map(|row| row.local).collect();
    let addresses: Vec<SocketAddr> = addresses.into_iter().collect();
    assert_eq!(addresses.len(), 2);
    each_has_its_own(&program, "tcp", &addresses, 3);
    // Nothing but the sockets is held for them.
    let before = descriptors_of(program.pid()).len();
    assert_eq!(inodes_of(program.pid()).len(), 6);
    let pid = program.children()[0];
    send(pid, Signal::SIGKILL);
    program.stderr.wait_for("restarting");
    each_has_its_own(&program, "tcp", &addresses, 3);
    assert_eq!(descriptors_of(program.pid()).len(), before);
    program.stop();
}

#[test]
fn own_sockets_are_given_by_type_and_by_name_and_unix_sockets_stay_shared() {
    let path = own_path("reuse-port");
    let unix = path.to_str().expect("text");
    let named = format!("dns=udp:127.0.0.1:0, admin=127.0.0.1:0, local=unix:{unix}, public=127.0.0.2:0");
    let unnamed = format!("127.0.0.1:0,unix:{unix},udp:127.0.0.1:0");
    for (mut command, how, listen) in [
        (fixture("listens-to-each-kind"), "names", &named),
        (fixture("listens-to-each-kind"), "attribute", &unnamed),
        (fixture("listens-with-tokio"), "attribute", &unnamed),
        (fixture("listens-with-tokio"), "attribute-threads", &unnamed),
    ] {
        let mut program = Program::start(command.args([how, listen]).env("PREFORK_REUSE_PORT", "true"));
        let names: [(&str, &str); 2] =
            if how == "names" { [("admin=", "tcp"), ("dns=udp:", "udp")] } else { [("", "tcp"), ("udp:", "udp")] };
        for (prefix, kind) in names {
            let address = address(&program, prefix);
            each_has_its_own(&program, kind, &[address], 2);
        }
        for pid in program.children() {
            let shared: BTreeSet<u64> = inodes_of(program.pid()).intersection(&inodes_of(pid)).copied().collect();
            let own = if how == "names" { 3 } else { 2 };
            assert_eq!(shared.len(), own + 1, "its own, and the Unix socket that all have");
        }
        let admin = address(&program, names[0].0);
        let mut answered = BTreeSet::new();
        until("both workers have answered", || {
            let mut answer = String::new();
            TcpStream::connect(admin).expect("a listener").read_to_string(&mut answer).expect("an answer");
            answered.insert(answer);
            (answered.len() == 2).then_some(())
        });
        program.stop();
    }
}

#[test]
fn datagrams_of_one_sender_go_to_one_slot_and_senders_are_spread() {
    let mut command = fixture("listens-to-each-kind");
    let mut program = Program::start(command.args(["udp", "udp:127.0.0.1:0"]).env("PREFORK_REUSE_PORT", "true"));
    let address = address(&program, "udp:");
    program.wait_for_children(2);
    let mut served = BTreeMap::<u8, usize>::new();
    for _ in 0..64 {
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.set_read_timeout(Some(DEADLINE)).expect("a time");
        let mut by = BTreeSet::new();
        for _ in 0..4 {
            client.send_to(b"?", address).expect("sent");
            let mut answer = [0; 16];
            client.recv(&mut answer).expect("an answer");
            by.insert(answer[0]);
        }
        assert_eq!(by.len(), 1, "one sender has one worker");
        *served.entry(by.pop_first().expect("one")).or_default() += 1;
    }
    // By chance less than 12 of 64 is one in millions.
    assert!(served.len() == 2 && served.values().all(|&count| count >= 12), "{served:?}");
    program.stop();
}

#[test]
fn attribute_builder_and_environment_ask_for_own_sockets_alike() {
    for (how, variable, own) in [
        ("attribute", None, true),
        ("builder", None, true),
        ("environment", Some("true"), true),
        ("environment", None, false),
        ("environment", Some("false"), false),
        ("builder", Some("false"), false),
        ("attribute", Some("false"), false),
    ] {
        let mut command = answers_at_once(how);
        if let Some(value) = variable {
            command.env("PREFORK_REUSE_PORT", value);
        }
        let mut program = Program::start(&mut command);
        let address = address(&program, "");
        program.stdout.wait_for_nth("serves", 4);
        assert_eq!(bound(program.pid(), "tcp", address).len(), if own { 4 } else { 1 }, "{how} {variable:?}");
        answer(address, &[0, 1, 2, 3]);
        program.stop();
    }
}

#[test]
fn without_forking_there_is_one_socket_and_main_gets_it() {
    let mut program = Program::start(answers_at_once("builder").env("PREFORK", "off"));
    let address = address(&program, "");
    assert_eq!(ask(address), 0);
    assert_eq!(bound(program.pid(), "tcp", address).len(), 1);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn an_address_that_another_process_has_is_in_use_whether_it_is_shared_or_not() {
    for (kind, shares) in [(Type::STREAM, false), (Type::STREAM, true), (Type::DGRAM, false), (Type::DGRAM, true)] {
        let socket = Socket::new(Domain::IPV4, kind, None).expect("a socket");
        socket.set_reuse_port(shares).expect("it can be shared");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        if kind == Type::STREAM {
            socket.listen(1).expect("it listens");
        }
        let address = socket.local_addr().expect("bound").as_socket().expect("an address");
        let scheme = if kind == Type::DGRAM { "udp:" } else { "" };
        let mut command = fixture("listens-to-each-kind");
        let how = if kind == Type::DGRAM { "udp" } else { "tcp" };
        command.args([how, &format!("{scheme}{address}")]).env("PREFORK_REUSE_PORT", "true");
        let mut program = Program::start(&mut command);
        assert_eq!(program.exit_code(), 1, "{kind:?} {shares}");
        program.stderr.wait_for(&format!("{scheme}{address}: "));
        program.stderr.wait_for("another process holds the address");
        assert_eq!(program.stdout.all(), [""; 0], "nothing was forked");
    }
}

#[test]
fn with_port_0_all_slots_and_all_addresses_of_a_name_have_one_port() {
    let mut command = fixture("listens-to-each-kind");
    let mut program = Program::start(command.args(["all-tcp", "localhost:0"]).env("PREFORK_REUSE_PORT", "true"));
    let address = address(&program, "");
    each_has_its_own(&program, "tcp", &[address], 2);
    let lines = program.stderr.all();
    let ports: Vec<&str> =
        lines.iter().filter(|line| line.contains("listening on")).filter_map(|line| line.rsplit(':').next()).collect();
    assert!(ports.iter().all(|&port| port == address.port().to_string()), "{ports:?}");
    program.stop();
}

#[test]
fn workers_that_become_another_user_have_their_own_sockets_and_so_has_one_more_worker() {
    if !geteuid().is_root() {
        skip!("only root can become another user");
    }
    let mut command = answers_at_once("builder");
    let mut program = Program::start(command.env("PREFORK_USER", "nobody").env("PREFORK_GROUP", "nogroup"));
    let address = address(&program, "");
    answer(address, &[0, 1, 2, 3]);
    program.signal(Signal::SIGTTIN);
    answer(address, &[0, 1, 2, 3, 4]);
    let pids = program.wait_for_children(5);
    assert!(pids.iter().all(|&pid| status_of(pid, "Uid").starts_with("65534")));
    program.stop();
}

#[test]
fn one_more_that_gets_no_socket_leaves_the_pool_as_it_was() {
    let mut command = answers_at_once("builder");
    before_exec(&mut command, || Ok(setrlimit(Resource::RLIMIT_NOFILE, 64, 64)?));
    command.env("PREFORK_WORKERS", "2");
    let mut program = Program::start(&mut command);
    let address = address(&program, "");
    answer(address, &[0, 1]);
    let full = || program.stderr.count("cannot be added, as there are no sockets for it: 127.0.0.1:0: ") > 0;
    let asked = until("there are no descriptors left", || {
        program.signal(Signal::SIGTTIN);
        full().then(|| program.children().len())
    });
    assert!(asked < 64, "{asked} workers");
    program.stderr.wait_for("check the limit on open files");
    assert!(bound(program.pid(), "tcp", address).len() >= asked);
    ask(address);
    program.stop();
}

#[test]
fn too_few_descriptors_for_the_first_workers_are_an_error_that_says_so() {
    let mut command = answers_at_once("builder");
    before_exec(&mut command, || Ok(setrlimit(Resource::RLIMIT_NOFILE, 16, 16)?));
    let mut program = Program::start(command.env("PREFORK_WORKERS", "32"));
    assert_eq!(program.exit_code(), 1);
    program.stderr.wait_for("raise the limit (`ulimit -n`, LimitNOFILE=)");
}
