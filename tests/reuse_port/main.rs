//! With `reuse_port` each slot has sockets of its own, which the supervisor holds: no queued connection is lost, and none is
//! queued where no worker accepts.

mod own_sockets;
mod random_kills;
mod sockets;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use sockets::bound;
use support::before_exec::without_steering;
use support::{DEADLINE, Program, Signal, descriptors_of, fixture, send, state_of, until};

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

/// Which worker answers, if one does in this time.
fn ask_within(address: SocketAddr, time: Duration) -> Option<usize> {
    let mut connection = TcpStream::connect(address).expect("a listener");
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
    let waiting: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).expect("a listener")).collect();
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
fn a_kernel_that_refuses_to_steer_is_named_once_and_all_the_rest_works() {
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
