//! With `reuse_port` each slot has sockets of its own, which the supervisor holds: nobody who waits in a queue is lost, and
//! nobody waits where nobody accepts.

mod support;
use support::before_exec::{before_exec, without_steering};
use support::{
    DEADLINE, Program, Signal, children_of, descriptors_of, fixture, moments, own_path, send, state_of, until,
};

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};
use socket2::{Domain, SockRef, Socket, Type};

/// A row of /proc/net/tcp and the like.
struct Row {
    local: SocketAddr,
    remote: SocketAddr,
    listens: bool,
    inode: u64,
}

/// The IPv4 sockets of this kind, of the namespace that this thread is in.
fn rows(kind: &str) -> Vec<Row> {
    let address = |text: &str| -> Option<SocketAddr> {
        let (ip, port) = text.split_once(':')?;
        let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
        Some(SocketAddr::from((ip, u16::from_str_radix(port, 16).ok()?)))
    };
    let table = fs::read_to_string(format!("/proc/thread-self/net/{kind}")).expect("/proc");
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, remote) = (address(words.get(1)?)?, address(words.get(2)?)?);
        Some(Row { local, remote, listens: words.get(3) == Some(&"0A"), inode: words.get(9)?.parse().ok()? })
    };
    table.lines().filter_map(row).collect()
}

/// The sockets that a process has open.
fn inodes_of(pid: i32) -> BTreeSet<u64> {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |target: std::path::PathBuf| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    targets.filter_map(inode).collect()
}

/// The sockets of a process that are bound to this address: those that listen, or wait for datagrams.
fn bound(pid: i32, kind: &str, address: SocketAddr) -> BTreeSet<u64> {
    let open = inodes_of(pid);
    let is_meant = |row: &Row| row.local == address && (row.listens || kind == "udp") && open.contains(&row.inode);
    rows(kind).into_iter().filter(is_meant).map(|row| row.inode).collect()
}

/// The address that the log names after this: "", "admin=", "udp:".
fn address(program: &Program, prefix: &str) -> SocketAddr {
    let line = program.stderr.wait_for(&format!("listening on {prefix}127."));
    line.split_once(&format!("listening on {prefix}"))
        .and_then(|(_, address)| address.parse().ok())
        .expect("an address")
}

fn answers_at_once(how: &str) -> Command {
    let mut command = fixture("answers-at-once");
    command.arg(how);
    command
}

/// Which worker answers a connection to `answers-at-once`.
fn ask(address: SocketAddr) -> usize {
    ask_within(address, DEADLINE).expect("an answer")
}

/// The same, if one does in this time.
fn ask_within(address: SocketAddr, time: Duration) -> Option<usize> {
    let mut connection = TcpStream::connect(address).expect("somebody listens");
    connection.set_read_timeout(Some(time)).expect("a time");
    connection.write_all(b"?").expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer.trim_start_matches('+').trim().parse().expect("a task id"))
}

/// Asks until exactly these workers have answered.
fn answer(address: SocketAddr, task_ids: &[usize]) {
    let mut answered = BTreeSet::new();
    until(&format!("{task_ids:?} have answered"), || {
        answered.insert(ask(address));
        (answered.iter().eq(task_ids)).then_some(())
    });
}

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
fn they_are_given_by_type_and_by_name_and_unix_sockets_stay_shared() {
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
            TcpStream::connect(admin).expect("somebody listens").read_to_string(&mut answer).expect("an answer");
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
fn every_way_to_ask_for_it_is_the_same() {
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
fn without_forking_there_is_one_socket_and_it_is_handed_over() {
    let mut program = Program::start(answers_at_once("builder").env("PREFORK", "off"));
    let address = address(&program, "");
    assert_eq!(ask(address), 0);
    assert_eq!(bound(program.pid(), "tcp", address).len(), 1);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn an_address_that_somebody_has_is_in_use_whether_he_shares_it_or_not() {
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
fn workers_that_become_somebody_else_have_their_own_too_and_one_more_gets_them() {
    if !geteuid().is_root() {
        skip!("only root can become somebody else");
    }
    let mut command = answers_at_once("builder");
    let mut program = Program::start(command.env("PREFORK_USER", "nobody").env("PREFORK_GROUP", "nogroup"));
    let address = address(&program, "");
    answer(address, &[0, 1, 2, 3]);
    program.signal(Signal::SIGTTIN);
    answer(address, &[0, 1, 2, 3, 4]);
    let pids = program.wait_for_children(5);
    assert!(pids.iter().all(|&pid| support::status_of(pid, "Uid").starts_with("65534")));
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

#[test]
fn while_a_slot_has_no_worker_new_connections_go_to_the_others() {
    let mut command = answers_at_once("builder");
    let mut program = Program::start(command.env("PREFORK_BACKOFF", "10m").env("PREFORK_WORKERS", "3"));
    let address = address(&program, "");
    answer(address, &[0, 1, 2]);
    for killed in 1..=2 {
        let line = program.stdout.wait_for_nth("task 1 pid ", killed);
        send(line.split(' ').nth(3).and_then(|pid| pid.parse().ok()).expect("a pid"), Signal::SIGKILL);
        program.stderr.wait_for_nth("worker 1 (pid", killed);
    }
    program.stderr.wait_for("restarting in ");
    // Before the kernel is told, one may go to where it waits for 10 minutes.
    let moment = Duration::from_millis(500);
    let answered = until("200 in a row are answered", || {
        let mut answered = BTreeMap::<usize, usize>::new();
        for _ in 0..200 {
            *answered.entry(ask_within(address, moment)?).or_default() += 1;
        }
        Some(answered)
    });
    assert_eq!(answered.keys().copied().collect::<Vec<_>>(), [0, 2]);
    assert!(answered.values().all(|&count| count > 50), "{answered:?}");
    program.stop();
}

#[test]
fn what_waits_for_a_killed_worker_is_answered_by_its_replacement() {
    let mut program = Program::start(answers_at_once("builder").env("PREFORK_WORKERS", "1"));
    let address = address(&program, "");
    let pid = program.wait_for_children(1)[0];
    assert_eq!(ask(address), 0);
    send(pid, Signal::SIGSTOP);
    until("it is stopped", || (state_of(pid) == Some('T')).then_some(()));
    let waiting: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).expect("somebody listens")).collect();
    send(pid, Signal::SIGKILL);
    for mut connection in waiting {
        connection.set_read_timeout(Some(DEADLINE)).expect("a time");
        connection.write_all(b"?").expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        assert_eq!(answer, "+0\n");
    }
    program.stop();
}

#[test]
fn one_fewer_and_one_more_again_and_again_leave_nothing_behind() {
    let mut program = Program::start(answers_at_once("builder").env("PREFORK_WORKERS", "2"));
    let address = address(&program, "");
    answer(address, &[0, 1]);
    let before = descriptors_of(program.pid()).len();
    for round in 1..=2 {
        program.signal(Signal::SIGTTIN);
        program.stderr.wait_for_nth("3 workers instead of 2", round);
        program.signal(Signal::SIGTTIN);
        until("two more", || (bound(program.pid(), "tcp", address).len() == 4).then_some(()));
        answer(address, &[0, 1, 2, 3]);
        program.signal(Signal::SIGTTOU);
        program.stderr.wait_for_nth("3 workers instead of 4", round);
        program.signal(Signal::SIGTTOU);
        program.stderr.wait_for_nth("2 workers instead of 3", round);
        until("two fewer", || (bound(program.pid(), "tcp", address).len() == 2).then_some(()));
        answer(address, &[0, 1]);
        assert_eq!(descriptors_of(program.pid()).len(), before);
    }
    program.stop();
}

#[test]
fn where_the_kernel_refuses_to_steer_it_is_said_once_and_all_the_rest_works() {
    let Some(migrates) = migrates() else { skip!("the kernel has no net.ipv4.tcp_migrate_req") };
    let mut command = answers_at_once("builder");
    without_steering(command.env("PREFORK_WORKERS", "2"));
    let mut program = Program::start(&mut command);
    let address = address(&program, "");
    answer(address, &[0, 1]);
    program.signal(Signal::SIGTTIN);
    answer(address, &[0, 1, 2]);
    program.signal(Signal::SIGTTOU);
    program.stderr.wait_for("worker 2 (pid ");
    until("one fewer", || (bound(program.pid(), "tcp", address).len() == 2).then_some(()));
    answer(address, &[0, 1]);
    program.stop();
    assert_eq!(program.stderr.count("refuses to steer"), usize::from(!migrates), "{:#?}", program.stderr.all());
    assert_eq!(program.stderr.count("cannot steer"), 0);
}

/// Whether the kernel gives what waits in a socket that is closed to others of the address.
fn migrates() -> Option<bool> {
    Some(fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req").ok()?.trim() != "0")
}

// The proof.

const CLIENTS: usize = 16;
const ROUNDS: usize = 90;
/// Connections that are answered in each round.
const ROUND: usize = 40;

/// What all clients together have seen.
#[derive(Debug, Default)]
struct Seen {
    over: AtomicBool,
    answered: AtomicUsize,
    refused: AtomicUsize,
    /// Broken after a worker said that it had accepted them.
    accepted: AtomicUsize,
    /// The client's ports of those that broke before.
    unaccepted: Mutex<Vec<u16>>,
}

fn connect_again_and_again(address: SocketAddr, seen: &Seen) {
    while !seen.over.load(Ordering::Relaxed) {
        let Ok(mut connection) = TcpStream::connect(address) else {
            seen.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let port = connection.local_addr().expect("bound").port();
        // Thousands that are over would have to be looked through at every kill.
        SockRef::from(&connection).set_linger(Some(Duration::ZERO)).expect("no trace is left");
        connection.set_read_timeout(Some(DEADLINE)).expect("a time");
        // What it breaks by is seen below.
        let _ = connection.write_all(b"?");
        let mut answer = Vec::new();
        let mut buffer = [0; 16];
        loop {
            match connection.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        match answer[..] {
            [b'+', .., b'\n'] => drop(seen.answered.fetch_add(1, Ordering::Relaxed)),
            [b'+', ..] => drop(seen.accepted.fetch_add(1, Ordering::Relaxed)),
            _ => seen.unaccepted.lock().unwrap().push(port),
        }
    }
}

/// Kills a worker, and says the clients' ports of the connections that it had accepted: it is stopped first, and what it
/// has open then is what it has accepted.
fn kill_one(address: SocketAddr, pid: i32) -> Vec<u16> {
    let (pid, nix_pid) = (pid, Pid::from_raw(pid));
    // It may end by itself meanwhile.
    if kill(nix_pid, Signal::SIGSTOP).is_err() {
        return Vec::new();
    }
    until("it is stopped or gone", || (!matches!(state_of(pid), Some('R' | 'S' | 'D'))).then_some(()));
    let open = inodes_of(pid);
    let is_accepted = |row: &Row| !row.listens && row.local == address && open.contains(&row.inode);
    let accepted = rows("tcp").into_iter().filter(is_accepted).map(|row| row.remote.port()).collect();
    let _ = kill(nix_pid, Signal::SIGKILL);
    accepted
}

/// What became of connections while workers were killed at random, and the pool was scaled up and down and reloaded.
#[derive(Debug)]
struct Account {
    answered: usize,
    refused: usize,
    /// Reset or closed while they waited.
    lost: usize,
    /// A worker had accepted them when it was killed: those that it had told so, and those it had not.
    accepted: (usize, usize),
    kills: usize,
}

impl Account {
    fn losses(&self) -> usize {
        self.refused + self.lost
    }
}

fn account(program: &Program, address: SocketAddr) -> Account {
    let seen = Seen::default();
    let (mut kills, mut in_hand) = (0, Vec::new());
    let mut moments = moments();
    let mut moment = move || moments.next().expect("endless") as usize;
    thread::scope(|scope| {
        (0..CLIENTS).for_each(|_| drop(scope.spawn(|| connect_again_and_again(address, &seen))));
        for round in 0..ROUNDS {
            let target = seen.answered.load(Ordering::Relaxed) + ROUND / 2 + moment() % ROUND;
            until("connections are answered", || (seen.answered.load(Ordering::Relaxed) >= target).then_some(()));
            match round % 9 {
                2 | 3 => program.signal(Signal::SIGTTIN),
                5 | 8 => program.signal(Signal::SIGTTOU),
                7 if round % 18 == 7 => program.signal(Signal::SIGHUP),
                _ => {
                    let workers = children_of(program.pid());
                    if !workers.is_empty() {
                        kills += 1;
                        in_hand.extend(kill_one(address, workers[moment() % workers.len()]));
                    }
                }
            }
        }
        seen.over.store(true, Ordering::Relaxed);
    });
    let mut unaccepted = seen.unaccepted.into_inner().expect("nobody panicked");
    let before = unaccepted.len();
    for port in in_hand {
        if let Some(place) = unaccepted.iter().position(|&broken| broken == port) {
            unaccepted.swap_remove(place);
        }
    }
    Account {
        answered: seen.answered.into_inner(),
        refused: seen.refused.into_inner(),
        lost: unaccepted.len(),
        accepted: (seen.accepted.into_inner(), before - unaccepted.len()),
        kills,
    }
}

/// Whether what waits in a socket that is closed is lost here, be it in a network of this thread's own.
fn loses_what_waits() -> bool {
    if migrates() != Some(true) {
        return true;
    }
    let is_up = || Command::new("ip").args(["link", "set", "lo", "up"]).status().is_ok_and(|status| status.success());
    unshare(CloneFlags::CLONE_NEWNET).is_ok() && is_up() && migrates() == Some(false)
}

#[test]
fn nobody_who_waits_is_lost_whoever_is_killed_and_however_many_workers_there_are() {
    if !loses_what_waits() {
        skip!("net.ipv4.tcp_migrate_req is not 0, and there can be no network of this test's own");
    }
    let mut program = Program::start(answers_at_once("builder").env("PREFORK_BACKOFF", "100ms..300ms"));
    let address = address(&program, "");
    program.stdout.wait_for_nth("serves", 4);
    let ours = account(&program, address);
    program.stop();
    println!("sockets that the supervisor holds: {ours:?}");

    // The usual way, at a port that is kept for it.
    let kept = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    kept.set_reuse_port(true).expect("it can be shared");
    kept.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = kept.local_addr().expect("bound").as_socket().expect("an address");
    let mut command = answers_at_once("itself");
    let mut program = Program::start(command.arg(address.to_string()).env("PREFORK_BACKOFF", "100ms..300ms"));
    program.stdout.wait_for_nth("serves", 4);
    let usual = account(&program, address);
    program.stop();
    println!("sockets that workers bind themselves: {usual:?}");

    assert!(ours.answered >= 2500 && ours.kills > 30, "{ours:?}");
    assert_eq!(ours.losses(), 0, "{ours:?}");
    // A worker serves one at a time.
    assert!(ours.accepted.0 + ours.accepted.1 <= ours.kills, "{ours:?}");
    // Every worker that is killed in front of a queue takes it along.
    assert!(usual.losses() > 0, "{usual:?}");
}
