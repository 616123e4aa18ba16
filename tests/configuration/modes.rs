//! The start modes: `PREFORK=off` and `PREFORK=check`.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use crate::refused::is_refused;
use crate::skip;
use crate::support::activation::own_address;
use crate::support::before_exec::before_exec;
use crate::support::pool::Files;
use crate::support::session::Session;
use crate::support::{Program, fixture};
use crate::variables::{sees_only_what_is_not_ours, with_variables_of_all_kinds};

#[test]
fn prefork_off_runs_the_body_in_the_one_process_as_task_0_of_1() {
    let mut command = with_variables_of_all_kinds();
    command.env("PREFORK", "off").env("PREFORK_WORKERS", "5");
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 9);
    program.stdout.wait_for("task 0 of 1 restarts 0");
    program.stdout.wait_for("task_id() Some(0)");
    program.stdout.wait_for(&format!("pid {}", program.pid()));
    // `Command` forks without the handlers that announce it.
    assert_eq!(program.stdout.count("forking"), 0);
    sees_only_what_is_not_ours(&program);
    program.stderr.wait_for("PREFORK=off: running as task 0 of 1");
}

#[test]
fn prefork_check_says_that_the_configuration_is_good_and_forks_nothing() {
    let mut program = Program::start(fixture("takes-any-value").args(["everything", "finish"]).env("PREFORK", "check"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.all(), [""; 0]);
    program.stderr.wait_for("checking what would start 2 workers: workers = 2");
    let last = program.stderr.all().pop().expect("a line");
    assert!(last.contains("PREFORK=check: all is well, nothing was started"), "{last}");
}

#[test]
fn prefork_check_refuses_a_bad_value_with_2() {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check").env("PREFORK_BACKOFF", "5");
    is_refused(&mut command, &["PREFORK_BACKOFF"]);
    is_refused(fixture("takes-any-value").args(["workers four", "finish"]).env("PREFORK", "check"), &["workers"]);
}

/// A check of these addresses, which has to be good.
pub(crate) fn checks(listen: &str, prepare: impl FnOnce(&mut std::process::Command)) -> Vec<String> {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check").env("PREFORK_LISTEN", listen);
    prepare(&mut command);
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.all(), [""; 0]);
    assert_eq!(program.stderr.count("trying again"), 0, "{:#?}", program.stderr.all());
    program.stderr.all()
}

pub(crate) fn has(lines: &[String], part: &str) -> bool {
    lines.iter().any(|line| line.contains(part))
}

/// As `nginx -t`: the service that runs may have it.
#[test]
fn prefork_check_notes_an_address_in_use_and_whose_it_is() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let folder = Files::with(&[]);
    let path = folder.path("app.sock");
    let _unix = UnixListener::bind(&path).expect("a socket");
    let file = std::fs::metadata(&path).expect("a file").ino();
    let (tcp, udp) = (taken.local_addr().expect("bound"), udp.local_addr().expect("bound"));
    let listen = format!("{tcp}, web=127.0.0.1:0, dns=udp:{udp}, unix:{}", path.display());
    for reuse_port in ["false", "true"] {
        let lines = checks(&listen, |command| {
            command.env("PREFORK_REUSE_PORT", reuse_port);
        });
        for place in [tcp.to_string(), format!("dns=udp:{udp}"), format!("unix:{}", path.display())] {
            let whose = format!("PREFORK=check: {place} is in use by pid {} (", std::process::id());
            assert!(has(&lines, &whose), "{whose} is not in {lines:#?}");
        }
        assert!(has(&lines, "listening on web=127.0.0.1:"), "{lines:#?}");
        let last = lines.last().expect("a line");
        assert!(last.contains("all is well but for 3 addresses in use, nothing was started"), "{last}");
        // Nothing is left, and what is there stays.
        assert_eq!(std::fs::metadata(&path).expect("a file").ino(), file);
        assert_eq!(folder.names(), ["app.sock"]);
    }
}

/// A socket unit's port may be one that the service must not bind.
#[test]
fn prefork_check_notes_an_address_in_use_that_it_may_not_bind() {
    let address = SocketAddr::new(own_address().ip(), 747);
    let _taken = match TcpListener::bind(address) {
        Ok(listener) => listener,
        Err(error) => skip!("only root can bind {address}: {error}"),
    };
    let without_the_right = |command: &mut std::process::Command| {
        const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
        // SAFETY: prctl(2) with PR_CAPBSET_DROP takes a number.
        before_exec(command, || match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    };
    let lines = checks(&address.to_string(), without_the_right);
    assert!(has(&lines, &format!("{address} is in use by pid {} (", std::process::id())), "{lines:#?}");
    // Where it is free, that it may not be bound is what is wrong.
    let free = SocketAddr::new(address.ip(), 748);
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check").env("PREFORK_LISTEN", free.to_string());
    without_the_right(&mut command);
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.stderr.wait_for("CAP_NET_BIND_SERVICE");
}

/// A start would fail, too.
#[test]
fn prefork_check_refuses_addresses_that_are_in_each_other_s_way_with_1() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check");
    command.env("PREFORK_LISTEN", format!("0.0.0.0:{port},127.0.0.1:{port}"));
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    let last = program.stderr.all().pop().expect("a line");
    assert!(last.contains("in use") && last.contains("this process holds it itself"), "{last}");
}

#[test]
fn prefork_check_beside_the_running_service_takes_nothing_from_it() {
    let folder = Files::with(&[]);
    let path = folder.path("app.sock");
    let mut listens = fixture("listens");
    listens.arg("all").env("PREFORK_LISTEN", format!("127.0.0.1:0,unix:{}", path.display()));
    let mut service = Session::start(&mut listens);
    let line = service.stderr.wait_for("listening on 127.0.0.1:");
    let (_, address) = line.split_once("listening on ").expect("an address");
    service.stderr.wait_for("are ready");
    let file = std::fs::metadata(&path).expect("a file").ino();
    for _ in 0..3 {
        let lines = checks(&format!("{address},unix:{}", path.display()), |_| ());
        assert!(has(&lines, "all is well but for 2 addresses in use"), "{lines:#?}");
        assert_eq!(std::fs::metadata(&path).expect("a file").ino(), file);
        let mut answer = String::new();
        let mut connection = TcpStream::connect(address).expect("it serves");
        connection.read_to_string(&mut answer).expect("an answer");
        assert!(!answer.is_empty());
    }
    service.stop();
    assert_eq!(folder.names(), [""; 0]);
}

/// What only a supervisor of workers does, main cannot be given.
#[test]
fn prefork_off_says_what_it_does_not_use() {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "off").env("PREFORK_WORKERS", "5");
    command.env("PREFORK_MAX_RESTARTS", "3").env("PREFORK_LISTEN", "127.0.0.1:0").env("PREFORK_RELOAD", "");
    command.env("NOTIFY_SOCKET", "/nowhere").env("WATCHDOG_USEC", "1000000");
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    let line = program.stderr.wait_for("PREFORK=off: ");
    for part in ["not used without workers: PREFORK_", "left to main: NOTIFY_SOCKET, WATCHDOG_USEC"] {
        assert!(line.contains(part), "{line}");
    }
    for (variable, named) in [("PREFORK_WORKERS", 1), ("PREFORK_MAX_RESTARTS", 1), ("LISTEN", 0), ("RELOAD", 0)] {
        assert_eq!(line.matches(variable).count(), named, "{line}");
    }
}

#[test]
fn prefork_check_says_that_a_service_manager_is_told_nothing() {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check").env("NOTIFY_SOCKET", "/nowhere");
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    program.stderr.wait_for("PREFORK=check: a service manager is told nothing, so these are not used: NOTIFY_SOCKET");
}

#[test]
fn a_reuse_port_that_nothing_can_use_is_named() {
    for (listen, count) in [("none", 1), ("127.0.0.1:0", 0)] {
        let lines = checks(listen, |command| {
            command.env("PREFORK_REUSE_PORT", "true");
        });
        let named = lines.iter().filter(|line| line.contains("reuse_port has no effect: listen has no TCP or UDP"));
        assert_eq!(named.count(), count, "{lines:#?}");
    }
}
