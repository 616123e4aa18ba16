//! What one worker does to a socket that all share holds for all of them: once it has ended, clients are served again.

mod support;
use support::activation::with_sockets;
use support::pool::Files;
use support::session::Session;
use support::{Signal, fixture, until};

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::unistd::geteuid;
use socket2::{SockFilter, SockRef};

struct Spoilt {
    program: Session,
    files: Files,
    unix: PathBuf,
    tcp: SocketAddr,
    udp: SocketAddr,
}

impl Spoilt {
    fn start(listen: &str, prepare: impl FnOnce(&mut Command)) -> Spoilt {
        let (files, own) = (Files::with(&[]), Files::with(&[]));
        // The socket's directory is the supervisor's.
        std::fs::set_permissions(own.path(""), std::fs::Permissions::from_mode(0o755)).expect("its owner may");
        let unix = own.path("app.sock");
        std::mem::forget(own);
        let mut command = fixture("listens-to-each-kind");
        command.args(["spoils", &format!("{listen}, unix:{}?mode=666", unix.display())]);
        command.env("PREFORK_WORKERS", "3").env("PREFORK_MAX_RESTARTS", "unlimited").env("PREFORK_BACKOFF", "0s");
        if geteuid().is_root() {
            command.env("PREFORK_USER", "65534");
        }
        prepare(files.name_in(&mut command));
        let program = Session::start(&mut command);
        let address = |prefix: &str| {
            let line = program.stderr.wait_for(&format!("listening on {prefix}127."));
            let (_, address) = line.split_once(&format!("on {prefix}")).expect("an address");
            address.trim_end_matches(", inherited").parse().expect("an address")
        };
        let (tcp, udp) = (address(""), address("udp:"));
        Spoilt { program, files, unix, tcp, udp }
    }

    fn is_served(&self) {
        for _ in 0..10 {
            until("TCP is served", || answer(TcpStream::connect_timeout(&self.tcp, Duration::from_secs(1)).ok()?));
            until("the Unix socket is served", || answer(UnixStream::connect(&self.unix).ok()?));
            let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            client.set_read_timeout(Some(Duration::from_secs(1))).expect("a time");
            until("UDP is served", || {
                client.send_to(b"?", self.udp).ok()?;
                client.recv(&mut [0; 16]).ok()
            });
        }
    }

    fn repairs(&self, order: &str, place: &str, found: &str) {
        let line = self.spoil(&format!("{order} aborts"), &format!("{place} was repaired"));
        assert!(line.ends_with(&format!(": {found}")), "{order}: {line}");
        self.is_served();
    }

    /// Has a worker do it and end, and waits for the line that says that it was undone.
    fn spoil(&self, order: &str, says: &str) -> String {
        let before = self.program.stderr.count(" after the end of worker 1 (pid ");
        self.files.write("spoil", order);
        let line = self.program.stderr.wait_for_nth(" after the end of worker 1 (pid ", before + 1);
        assert!(line.contains(says), "{order}: {line}");
        line
    }
}

impl Drop for Spoilt {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.unix.parent().expect("a directory"));
    }
}

trait Connection: Read {
    fn wait_for(&self, time: Duration);
}
impl Connection for TcpStream {
    fn wait_for(&self, time: Duration) {
        self.set_read_timeout(Some(time)).expect("a time");
    }
}
impl Connection for UnixStream {
    fn wait_for(&self, time: Duration) {
        self.set_read_timeout(Some(time)).expect("a time");
    }
}

/// The task id of the worker.
fn answer(mut connection: impl Connection) -> Option<usize> {
    connection.wait_for(Duration::from_secs(1));
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.trim().parse().ok()
}

#[test]
fn a_socket_that_a_worker_has_spoilt_serves_again_once_it_has_ended() {
    let pool = Spoilt::start("127.0.0.1:0, udp:127.0.0.1:0", |_| {});
    let [tcp, udp] = [pool.tcp.to_string(), format!("udp:{}", pool.udp)];
    for (order, place, found) in [
        // It gives up a port that the system has chosen.
        ("tcp elsewhere", &tcp, "it listened at another address"),
        ("tcp listen-0", &tcp, "no more than 0 connections could wait there"),
        ("tcp shutdown", &tcp, "it was shut down"),
        // Its peer has gone with it.
        ("tcp connect", &tcp, "it was shut down"),
        ("tcp ttl", &tcp, "it dropped packets by their TTL"),
        ("udp peer", &udp, "it was connected, so it received nothing from other senders"),
    ] {
        pool.repairs(order, place, found);
    }
    assert_eq!(pool.program.stderr.count(" was repaired after the end of "), 6, "{:#?}", pool.program.stderr.all());
    assert_eq!(pool.program.stderr.count("bound anew"), 0);
}

/// Some systems keep filters from those without rights.
#[test]
fn a_filter_of_a_worker_goes_with_it() {
    let pool = Spoilt::start("127.0.0.1:0, udp:127.0.0.1:0", |command| {
        command.env_remove("PREFORK_USER");
    });
    if !may_filter() {
        skip!("this user may not attach a filter to a socket");
    }
    pool.repairs("tcp filter", &pool.tcp.to_string(), "a filter was attached to it");
    pool.repairs("udp filter", &format!("udp:{}", pool.udp), "a filter was attached to it");
    pool.spoil("tcp locked-filter aborts", " was bound anew ");
    pool.program.stderr.wait_for("reload done after");
    pool.is_served();
}

/// The steering program cannot be read back from a socket, so it is set again after each end.
#[test]
fn a_worker_that_has_all_connections_come_to_its_slot_does_so_no_longer_than_it_lives() {
    let pool = Spoilt::start("127.0.0.1:0, udp:127.0.0.1:0", |command| {
        command.env("PREFORK_REUSE_PORT", "true").env_remove("PREFORK_USER");
    });
    if !may_filter() {
        skip!("this user may not attach a filter to a socket");
    }
    pool.files.write("spoil", "tcp redirect aborts");
    pool.program.stderr.wait_for("worker 1 (pid");
    pool.program.stderr.wait_for("restart 1 of it");
    let mut answered = std::collections::BTreeSet::new();
    until("all slots answer", || {
        answered.extend(answer(TcpStream::connect(pool.tcp).ok()?));
        (answered.len() == 3).then_some(())
    });
}

fn may_filter() -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    SockRef::from(&socket).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).is_ok()
}

#[test]
fn a_worker_that_exits_with_status_0_is_no_exception() {
    let pool = Spoilt::start("127.0.0.1:0, udp:127.0.0.1:0", |_| {});
    pool.spoil("tcp shutdown exits", "it was shut down");
    pool.is_served();
}

/// Nothing repairs these sockets. Workers that have the old socket would serve no client, so they are replaced.
#[test]
fn a_socket_that_nothing_repairs_is_bound_anew() {
    let mut pool = Spoilt::start("127.0.0.1:0, udp:127.0.0.1:0", |_| {});
    let orders = ["unix shutdown", "udp shutdown", "unix shutdown"];
    for (nth, order) in (1..).zip(orders) {
        pool.spoil(&format!("{order} aborts"), " was bound anew ");
        pool.program.stderr.wait_for_nth("a listener was bound anew: reloading", nth);
        pool.program.stderr.wait_for_nth("reload done after", nth);
        pool.is_served();
    }
    // And so are fresh ones.
    pool.program.signal(Signal::SIGHUP);
    pool.program.stderr.wait_for_nth("reload done after", orders.len() + 1);
    pool.is_served();
    assert_eq!(pool.program.stderr.count("after the end of worker 1 (pid"), orders.len());
    pool.program.stop();
    assert!(!pool.unix.exists(), "its file goes with the pool");
}

#[test]
fn the_socket_of_a_slot_is_bound_anew_for_that_slot() {
    let pool = Spoilt::start("127.0.0.1:0, udp:127.0.0.1:0", |command| {
        command.env("PREFORK_REUSE_PORT", "true");
    });
    let [tcp, udp] = [pool.tcp.to_string(), format!("udp:{}", pool.udp)];
    for (order, says) in [
        ("tcp listen-0", format!("the socket of slot 1 at {tcp} was repaired")),
        ("tcp shutdown", format!("the socket of slot 1 at {tcp} was repaired")),
        ("udp peer", format!("the socket of slot 1 at {udp} was repaired")),
        ("udp shutdown", format!("the socket of slot 1 at {udp} was bound anew")),
    ] {
        pool.spoil(&format!("{order} aborts"), &says);
        pool.is_served();
    }
    assert_eq!(pool.program.stderr.count("reloading"), 0);
}

/// A socket unit keeps its socket, whatever was done to it, and only it can make another.
#[test]
fn of_an_inherited_socket_that_nothing_repairs_a_line_says_what_to_do() {
    let (files, path) = (Files::with(&[]), support::own_path("spoilt"));
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = tcp.local_addr().expect("an address");
    let unix = std::os::unix::net::UnixListener::bind(&path).expect("a path");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let sockets = [("", &tcp.into()), ("", &unix.into()), ("", &udp.into())];
    let mut command = fixture("listens-to-each-kind");
    command.args(["spoils", "none"]).env("PREFORK_WORKERS", "3").env("PREFORK_BACKOFF", "0s");
    files.name_in(&mut command);
    let start = || Session::start(&mut with_sockets(&command, &sockets));
    let mut program = start();
    let spoil = |program: &Session, order: &str, says: &str| {
        files.write("spoil", order);
        program.stdout.wait_for("has done");
        let line = program.stderr.wait_for(" after the end of worker 1 (pid ");
        assert!(line.contains(says), "{line}");
    };
    spoil(&program, "unix shutdown aborts", "cannot be repaired");
    program.stderr.wait_for("restart of the .socket unit");
    // One line reports it.
    files.write("spoil", "tcp listen-0 aborts");
    program.stderr.wait_for("no more than 0 connections could wait there");
    assert_eq!(program.stderr.count("cannot be repaired"), 1);
    program.signal(Signal::SIGKILL);
    program.wait();
    program.wait_until_empty();
    // What is spoilt when the service ends is so at its next start.
    let sockets = [("", sockets[0].1), ("", sockets[2].1)];
    // The supervisor is not asked.
    let own = SockRef::from(sockets[0].1);
    own.shutdown(std::net::Shutdown::Both).expect("it listens");
    let mut command = fixture("listens-to-each-kind");
    command.args(["tcp", "none"]);
    let program = Session::start(&mut with_sockets(&command, &sockets));
    program.stderr.wait_for("did not listen");
    until("it is served", || answer(TcpStream::connect(address).ok()?));
    drop(program);
    let _ = std::fs::remove_file(path);
}
