//! The proof: connections while workers are killed at random, and the pool is scaled and reloaded.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use socket2::{Domain, SockRef, Socket, Type};

use crate::sockets::{Row, inodes_of, rows};
use crate::support::{DEADLINE, Program, Signal, children_of, moments, state_of, until};
use crate::{address, answers_at_once, migrates, skip};

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
    let mut unaccepted = seen.unaccepted.into_inner().expect("no client panicked");
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
fn no_queued_connection_is_lost_whichever_worker_is_killed_and_however_many_there_are() {
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
