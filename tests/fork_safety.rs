//! Promise 5: nothing is forked when it would be unsafe.

mod support;
use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule};
use support::before_exec::before_exec;
use support::session::Session;
use support::{Program, Signal, fixture, own_path, send, until};

fn refused(command: &mut Command, words: &[&str]) {
    let mut program = Session::start(command);
    assert_eq!(program.exit_code(), 2, "{:#?}", program.stderr.all());
    let lines = program.stderr.all();
    assert_eq!(lines.len(), 2, "what was to be started, and why it was not: {lines:#?}");
    for word in words {
        assert!(lines[1].contains(word), "{word:?} is not in {lines:#?}");
    }
    assert_eq!(program.stdout.all(), Vec::<String>::new());
    program.wait_until_empty();
}

const THREAD_WORDS: [&str; 5] = [
    "1 other thread",
    "(early-bird)",
    "start threads and async runtimes in main's body",
    "above",
    "no worker was started",
];

#[test]
fn nothing_is_forked_when_another_thread_is_alive() {
    refused(&mut fixture("starts-a-thread-first"), &THREAD_WORDS);
}

#[test]
fn nothing_is_forked_when_an_event_loop_is_open() {
    let words = ["event loop (epoll)", "in main's body", "no worker was started"];
    refused(&mut fixture("opens-an-event-loop-first"), &words);
}

#[test]
fn an_event_loop_inherited_through_exec_belongs_to_another_program() {
    let mut program = Program::start(fixture("opens-an-event-loop-first").arg("inherited"));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.count("forked"), 2);
}

#[test]
fn nothing_is_forked_elsewhere_than_on_the_main_thread() {
    refused(&mut fixture("starts-on-another-thread"), &["not started from the main thread", "start it in main"]);
}

#[test]
fn a_check_of_the_configuration_finds_threads_too() {
    refused(fixture("starts-a-thread-first").env("PREFORK", "check"), &THREAD_WORDS);
}

#[test]
fn advice_on_the_threads_of_jemalloc_fits_them() {
    let words = ["1 other thread", "(jemalloc_bg_thd)", "background_thread:false", "no worker was started"];
    refused(fixture("starts-a-thread-first").arg("jemalloc_bg_thd"), &words);
}

/// Servers to connect to, and a path at which none is yet.
struct Servers {
    tcp: TcpListener,
    unix: String,
    free: String,
    _listener: UnixListener,
}

impl Servers {
    fn start() -> Servers {
        let path = |name| own_path(name).to_str().expect("text").to_owned();
        let (unix, free) = (path("server"), path("free"));
        let listener = UnixListener::bind(&unix).expect("a path");
        Servers { tcp: TcpListener::bind("127.0.0.1:0").expect("a port"), unix, free, _listener: listener }
    }

    fn addresses(&self) -> [String; 2] {
        [self.tcp.local_addr().expect("an address").to_string(), self.unix.clone()]
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for path in [&self.unix, &self.free] {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn refused_as_connected(command: &mut Command, peer: &str) {
    let named = format!("a connection to {peer} (descriptor ");
    refused(command, &[&named, "open it in main", "prefork_rt::share_connection", "no worker was started"]);
}

#[test]
fn nothing_is_forked_while_a_connection_is_open_that_workers_would_share() {
    let servers = Servers::start();
    for story in ["connected", "without-cloexec", "before-new"] {
        for address in servers.addresses() {
            refused_as_connected(fixture("connects-first").args([story, &address]), &address);
        }
    }
    let [address, _] = servers.addresses();
    refused_as_connected(fixture("connects-first").args(["connected", &address]).env("PREFORK", "check"), &address);
    let client = format!("a client of {}", servers.free);
    refused_as_connected(fixture("connects-first").args(["accepted", &servers.free]), &client);
}

fn forks_twice(command: &mut Command) {
    let mut program = Program::start(command);
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.count("forked"), 2);
}

#[test]
fn a_connection_that_the_program_shares_on_purpose_is_not_refused() {
    let servers = Servers::start();
    for address in servers.addresses() {
        forks_twice(fixture("connects-first").args(["shared", &address]));
    }
}

#[test]
fn connections_from_before_the_program_and_sockets_without_order_are_not_refused() {
    let servers = Servers::start();
    let [address, _] = servers.addresses();
    forks_twice(fixture("connects-first").args(["harmless", &address]));
    forks_twice(fixture("connects-first").args(["without-cloexec-before-new", &address]));
    // As inetd(8) starts a program.
    let stdin: OwnedFd = TcpStream::connect(&address).expect("it listens").into();
    forks_twice(fixture("connects-first").args(["harmless", &address]).stdin(stdin));
}

#[test]
fn a_connection_that_a_logger_opens_while_the_pool_starts_is_found_whatever_the_level_of_its_lines() {
    let servers = Servers::start();
    for story in ["while-flushing", "while-flushing-without-lines"] {
        for address in servers.addresses() {
            let mut program = Session::start(fixture("connects-first").args([story, &address]));
            assert_eq!(program.exit_code(), 2, "{story}: {:#?}", program.stderr.all());
            let named = format!("a connection to {address} (descriptor ");
            assert_eq!((program.stderr.count(&named) > 0, program.stdout.count("forked")), (true, 0), "{story}");
            program.wait_until_empty();
        }
    }
}

#[test]
fn a_connection_that_appears_later_stops_the_pool_in_order_and_is_named() {
    let servers = Servers::start();
    let [address, _] = servers.addresses();
    let mut program = Session::start(fixture("connects-first").args(["later", &address]));
    assert_eq!(program.exit_code(), 1);
    program.wait_until_empty();
    let last = program.stderr.all().pop().expect("lines");
    let named = format!("a connection to {address} (descriptor ");
    for words in ["prefork: forking became unsafe", &named, "open it in main", "the workers were stopped"] {
        assert!(last.contains(words), "{words:?} is not in {last:?}");
    }
}

#[test]
fn a_logger_may_connect_again_to_a_peer_that_the_program_shares() {
    let servers = Servers::start();
    let [address, _] = servers.addresses();
    let mut program = Program::start(fixture("connects-first").args(["later-again", &address]));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stderr.count("restarting"), 3);
}

fn is_never_refused(command: &mut Command) {
    let mut program = Program::start(command);
    // A loaded machine has time for each part of it.
    for part in 0..=6 {
        let line = format!("restart {}", 500 * part);
        until("it goes on, or has ended", || {
            (program.stdout.count(&line) > 0 || program.stderr.count("unsafe") > 0).then_some(())
        });
    }
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
}

#[test]
fn a_thread_just_joined_is_never_refused() {
    is_never_refused(&mut fixture("joins-a-thread-before-each-fork"));
}

#[test]
fn a_thread_that_appears_later_stops_the_pool_in_order_and_is_named() {
    let mut program = Session::start(&mut fixture("starts-a-thread-later"));
    let workers = program.wait_for_children(3);
    send(workers[1], Signal::SIGKILL);
    assert_eq!(program.exit_code(), 1);
    program.wait_until_empty();
    assert_eq!(program.stderr.count("killed by SIGTERM after"), 2, "{:#?}", program.stderr.all());
    let last = program.stderr.all().pop().expect("lines");
    for words in ["prefork: forking became unsafe", "1 other thread", "(late-riser)", "the workers were stopped"] {
        assert!(last.contains(words), "{words:?} is not in {last:?}");
    }
}

/// unshare(2) fails with EPERM, as under the seccomp filters of many containers.
fn without_unshare() -> BpfProgram {
    let arch = std::env::consts::ARCH.try_into().expect("an architecture that seccompiler knows");
    let rules: BTreeMap<i64, Vec<SeccompRule>> = [(libc::SYS_unshare, vec![])].into();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).expect("a filter");
    filter.try_into().expect("a program")
}

fn filtered(command: &mut Command, filter: BpfProgram) -> &mut Command {
    before_exec(command, move || {
        seccompiler::apply_filter(&filter).map_err(|_| std::io::ErrorKind::PermissionDenied.into())
    })
}

#[test]
fn where_unshare_is_refused_threads_are_found_all_the_same() {
    refused(filtered(&mut fixture("starts-a-thread-first"), without_unshare()), &THREAD_WORDS);
}

#[test]
fn where_unshare_is_refused_forking_goes_on() {
    let mut program = Program::start(filtered(&mut fixture("reports-task-id"), without_unshare()));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stderr.count("cannot tell"), 0);
    assert_eq!(program.stdout.count("task"), 3);
}

#[test]
fn where_unshare_is_refused_a_thread_just_joined_is_not() {
    is_never_refused(filtered(&mut fixture("joins-a-thread-before-each-fork"), without_unshare()));
}

#[test]
fn where_nothing_tells_of_threads_one_warning_says_so() {
    let mut command = fixture("dies-young");
    before_exec(&mut command, || {
        if !nix::unistd::geteuid().is_root() {
            unshare(CloneFlags::CLONE_NEWUSER)?;
        }
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        Ok(mount(Some("none"), "/proc", Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
    });
    let command = filtered(&mut command, without_unshare()).env("PREFORK_MAX_RESTARTS", "3");
    let mut program = match Program::try_start(command, std::process::Stdio::piped()) {
        Ok(program) => program,
        Err(error) => skip!("/proc cannot be hidden from a program here: {error}"),
    };
    assert_eq!(program.exit_code(), 1);
    assert_eq!(program.stderr.count("cannot tell whether other threads are alive"), 1, "{:#?}", program.stderr.all());
    assert_eq!(program.stderr.count("restarting"), 3);
}
