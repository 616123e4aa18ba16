//! What a service manager is told, on a real socket.

mod support;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use support::lives::{let_go_on, lives, nth_worker, start};
use support::manager::Manager;
use support::more_rights::{MoreRights, Rights};
use support::pool::Pool;
use support::session::Session;
use support::{Signal, clean_command, descriptors_of, fixture, is_alive, line, until};

/// The lines of a message.
fn lines(message: &str) -> Vec<&str> {
    message.lines().collect()
}

/// The value of a variable in a message.
fn value<'a>(message: &'a str, name: &str) -> &'a str {
    let mut values = message.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.next().unwrap_or_else(|| panic!("no {name} in {message:?}"))
}

fn microseconds(message: &str, name: &str) -> Duration {
    Duration::from_micros(value(message, name).parse().expect("a number"))
}

fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock").into()
}

fn stop(mut program: Session) -> Session {
    program.stop();
    program
}

#[test]
fn ready_comes_when_every_worker_is_ready_and_not_before() {
    for manager in [Manager::with_a_path(), Manager::with_an_abstract_name()] {
        let (program, writer) = start(manager.watches(&mut lives(["--ready_timeout=1m", "read", "ready"])));
        assert_eq!(manager.wait_for("STATUS"), "STATUS=0 of 2 workers ready");
        let_go_on(&writer, 1);
        assert_eq!(manager.wait_for("STATUS"), "STATUS=1 of 2 workers ready");
        let_go_on(&writer, 1);
        assert_eq!(lines(&manager.wait_for("STATUS")), ["READY=1", "STATUS=2 of 2 workers ready"]);
        stop(program);
        let messages = manager.receive_all();
        assert!(!messages.iter().any(|message| message.contains("READY=1")), "{messages:#?}");
    }
}

#[test]
fn a_status_says_how_many_are_ready_and_what_happened_last() {
    let manager = Manager::with_a_path();
    let first = ["worker=1", "before-restart=1", "ready", "read", "exit=3"];
    let steps = [&["--ready_timeout=1m", "worker=0", "ready"], &first[..], &["worker=1", "read", "ready"]].concat();
    let (program, writer) = start(manager.watches(lives([]).args(steps)));
    manager.wait_for("READY=1");
    let_go_on(&writer, 1);
    let status = manager.wait_for("restart 1 of it");
    assert!(status.starts_with("STATUS=1 of 2 workers ready; worker 1 (pid "), "{status:?}");
    let_go_on(&writer, 1);
    let status = manager.wait_for("2 of 2");
    assert!(status.starts_with("STATUS=2 of 2 workers ready; worker 1 (pid "), "{status:?}");
    stop(program);
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let manager = Manager::with_a_path();
    let mut command = fixture("reloads");
    manager.watches(&mut command).env("PREFORK_GRACEFUL_TIMEOUT", "25s");
    let mut pool = Pool::start(command);
    manager.wait_for("READY=1");
    for _ in 0..2 {
        let before = monotonic();
        pool.reload();
        let messages = manager.receive_until("READY=1");
        let reloading = &messages[0];
        assert_eq!(lines(reloading)[0], "RELOADING=1", "{messages:#?}");
        assert!((before..monotonic()).contains(&microseconds(reloading, "MONOTONIC_USEC")), "{reloading}");
        // ready_timeout, graceful_timeout, and something for SIGKILL.
        assert_eq!(microseconds(reloading, "EXTEND_TIMEOUT_USEC"), Duration::from_secs(60 + 25 + 10));
        let (done, between) = messages[1..].split_last().expect("its end");
        for message in between {
            assert_eq!(lines(message).len(), 2, "{message}");
            assert!(lines(message)[0].starts_with("EXTEND_TIMEOUT_USEC="), "{message}");
            assert!(lines(message)[1].starts_with("STATUS="), "{message}");
        }
        assert_eq!(lines(done)[0], "READY=1");
        let status = value(done, "STATUS");
        assert!(status.starts_with("3 of 3 workers ready; reload done after "), "{status}");
    }
    pool.stop();
}

#[test]
fn a_failed_reload_ends_too_and_says_so() {
    let manager = Manager::with_a_path();
    let mut command = fixture("reloads");
    manager.watches(&mut command);
    let mut pool = Pool::start(command);
    manager.wait_for("READY=1");
    pool.tell("boot-1", "fail");
    pool.reload();
    let done = manager.receive_until("READY=1").pop().expect("its end");
    let status = value(&done, "STATUS");
    assert!(status.starts_with("3 of 3 workers ready; reload abandoned at worker 1: its replacement, "), "{status}");
    assert!(status.contains("exited with status 3"), "{status}");
    pool.stop();
}

/// The service is still starting, and its manager waits for READY=1.
#[test]
fn a_reload_before_the_pool_is_ready_is_no_reload() {
    let manager = Manager::with_a_path();
    let mut command = fixture("reloads");
    manager.watches(&mut command);
    let mut pool = Pool::start_with(command, &[("boot-2", "wait")]);
    manager.wait_for("2 of 3 workers ready");
    pool.reload();
    pool.wait_for_start(2, 1);
    pool.tell("booted", "");
    pool.stderr.wait_for("reload done");
    let messages = manager.receive_until("READY=1");
    assert!(!messages.iter().any(|message| message.contains("RELOADING")), "{messages:#?}");
    pool.stop();
    let messages = manager.receive_all();
    assert!(!messages.iter().any(|message| message.contains("READY=1")), "{messages:#?}");
}

#[test]
fn a_stop_is_told_with_the_time_it_may_take_and_so_is_its_end() {
    for (signal, first) in [(Signal::SIGTERM, "stopping 2 workers, at most 7s"), (Signal::SIGQUIT, "killing 2 workers")]
    {
        let manager = Manager::with_a_path();
        let mut program = Session::start(manager.watches(&mut lives(["--graceful_timeout=7s"])));
        manager.wait_for("READY=1");
        program.signal(signal);
        assert_eq!(program.exit_code(), 0);
        let messages: Vec<String> = manager.receive_all();
        assert_eq!(lines(&messages[0])[..2], ["STOPPING=1", "EXTEND_TIMEOUT_USEC=17000000"], "{messages:#?}");
        assert!(value(&messages[0], "STATUS").contains(first), "{messages:#?}");
        let last = messages.last().expect("the end");
        assert!(last.starts_with("STATUS=stopped by "), "{last}");
        assert_eq!(messages.iter().filter(|message| message.contains("STOPPING")).count(), 1, "{messages:#?}");
    }
}

#[test]
fn giving_up_says_why_at_once_and_at_the_end() {
    let manager = Manager::with_a_path();
    let mut program = Session::start(manager.watches(&mut lives(["--max_restarts=0", "worker=1", "exit=3"])));
    assert_eq!(program.exit_code(), 1);
    let messages = manager.receive_all();
    let stopping = messages.iter().find(|message| message.starts_with("STOPPING=1")).expect("STOPPING=1");
    assert!(value(stopping, "STATUS").contains("exited with status 3 after "), "{stopping}");
    assert!(value(stopping, "STATUS").contains("giving up: 0 of 0 restarts are used"), "{stopping}");
    let last = messages.last().expect("the end");
    let why = program.stderr.all().pop().expect("a last line");
    assert_eq!(value(last, "STATUS"), why.strip_prefix("prefork: ").expect("ours"));
}

#[test]
fn a_pool_whose_workers_have_all_finished_says_so() {
    let manager = Manager::with_a_path();
    let mut program = Session::start(manager.watches(&mut lives(["return=0"])));
    assert_eq!(program.exit_code(), 0);
    let last = manager.receive_all().pop().expect("the end");
    assert_eq!(lines(&last), ["STOPPING=1", "STATUS=all 2 workers have finished: exiting with status 0"]);
}

#[test]
fn a_start_that_fails_says_why() {
    let manager = Manager::with_a_path();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut program = Session::start(manager.watches(fixture("listens").arg("one").env("PREFORK_LISTEN", &address)));
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    let messages = manager.receive_all();
    let [message] = &messages[..] else { panic!("{messages:#?}") };
    assert_eq!(value(message, "ERRNO"), libc::EADDRINUSE.to_string());
    assert!(value(message, "STATUS").contains(&address), "{message}");

    let mut program = Session::start(manager.watches(fixture("listens").arg("one").env("PREFORK_WORKERS", "many")));
    assert_eq!(program.exit_code(), 2);
    let messages = manager.receive_all();
    let [message] = &messages[..] else { panic!("{messages:#?}") };
    assert!(message.starts_with("STATUS=environment variable PREFORK_WORKERS: "), "{message}");
}

#[test]
fn a_check_tells_the_manager_nothing() {
    let manager = Manager::with_a_path();
    let mut program = Session::start(manager.watches(lives([]).env("PREFORK", "check")));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(manager.receive_all(), [""; 0]);
}

#[test]
fn workers_do_not_see_the_variables_but_the_only_process_does() {
    let manager = Manager::with_a_path();
    let variables = |mode: &str| {
        let mut command = fixture("shows-its-environment");
        manager.watches(&mut command).env("WATCHDOG_USEC", "60000000").env("WATCHDOG_PID", "1").env("PREFORK", mode);
        let mut program = Session::start(&mut command);
        program.exit_code();
        let mut shown = program.stdout.all();
        shown.retain(|line| line.contains(" NOTIFY_SOCKET=") || line.contains(" WATCHDOG_"));
        shown.len()
    };
    assert_eq!(variables(""), 0);
    assert!(!manager.receive_all().is_empty());
    assert_eq!(variables("off"), 6);
    assert_eq!(manager.receive_all(), [""; 0]);
}

#[test]
fn no_process_holds_a_descriptor_of_the_notify_socket() {
    let manager = Manager::with_a_path();
    let plain = Session::start(&mut fixture("sleeps"));
    let watched = Session::start(manager.watches(&mut fixture("sleeps")));
    manager.wait_for("READY=1");
    let descriptors = |program: &Session| {
        let worker = program.wait_for_children(3)[0];
        (descriptors_of(program.pid()), descriptors_of(worker))
    };
    // While a message is sent, there is a socket for it.
    until("both have the same", || (descriptors(&watched) == descriptors(&plain)).then_some(()));
}

#[test]
fn the_watchdog_hears_of_a_supervisor_that_runs_and_of_no_other() {
    let manager = Manager::with_a_path();
    // Before the first message, as a slow test finds several waiting.
    let start = Instant::now();
    let program = Session::start(manager.watches(lives([]).env("WATCHDOG_USEC", "200000")));
    manager.wait_for("READY=1");
    // At half the period: not before, and again and again.
    (0..20).for_each(|_| drop(manager.wait_for("WATCHDOG=1")));
    assert!(start.elapsed() >= Duration::from_millis(1900), "{:?}", start.elapsed());
    program.signal(Signal::SIGSTOP);
    until("it is stopped", || (support::state_of(program.pid()) == Some('T')).then_some(()));
    manager.receive_all();
    assert_eq!(manager.receive_within(Duration::from_secs(1)), None);
    program.signal(Signal::SIGCONT);
    manager.wait_for("WATCHDOG=1");
    stop(program);
}

#[test]
fn the_watchdog_of_another_process_is_not_ours() {
    let manager = Manager::with_a_path();
    let run = |pid: &str| {
        let mut command = clean_command("sh");
        let program = line(&fixture("lives"));
        command.args(["-c", &format!("export WATCHDOG_PID={pid}; exec {program}")]).env("WATCHDOG_USEC", "20000");
        Session::start(manager.watches(&mut command))
    };
    let program = run("$$");
    manager.wait_for("WATCHDOG=1");
    stop(program);
    manager.receive_all();
    let program = run("1");
    manager.wait_for("READY=1");
    stop(program);
    let messages = manager.receive_all();
    assert!(!messages.iter().any(|message| message.contains("WATCHDOG")), "{messages:#?}");
}

#[test]
fn variables_that_are_of_no_use_are_named_with_why() {
    let manager = Manager::with_a_path();
    for (watched, variables, says) in [
        (
            true,
            &[("WATCHDOG_PID", "1"), ("WATCHDOG_USEC", "1000000")][..],
            "WATCHDOG_USEC is ignored: WATCHDOG_PID=1 names another process, and this is pid ",
        ),
        (true, &[("WATCHDOG_PID", "1")], "WATCHDOG_PID is ignored: there is no WATCHDOG_USEC"),
        (true, &[("WATCHDOG_USEC", "soon")], "WATCHDOG_USEC=\"soon\" is ignored: it is no number of microseconds"),
        (true, &[("FDSTORE", "many")], "FDSTORE=\"many\" is ignored: it is no number of descriptors"),
        (
            false,
            &[("WATCHDOG_USEC", "1000000"), ("FDSTORE", "16")],
            "ignored without NOTIFY_SOCKET, which says where a service manager reads: WATCHDOG_USEC, FDSTORE",
        ),
        (
            false,
            &[("NOTIFY_SOCKET", "vsock:2:1"), ("WATCHDOG_USEC", "1000000")],
            "NOTIFY_SOCKET=\"vsock:2:1\" is ignored, and with it WATCHDOG_USEC: only",
        ),
    ] {
        let mut command = lives([]);
        command.envs(variables.iter().copied());
        if watched {
            manager.watches(&mut command);
        }
        let program = Session::start(&mut command);
        program.stderr.wait_for("ready after");
        assert_eq!(program.stderr.count(says), 1, "{says}: {:#?}", program.stderr.all());
        assert_eq!(program.stderr.count("ignored"), 1, "{:#?}", program.stderr.all());
        stop(program);
    }
}

/// systemd's socket belongs to root, and every user can write to it.
#[test]
fn a_program_with_more_rights_than_its_caller_tells_root_s_manager_and_no_other() {
    let (theirs, abstract_one) = (Manager::of_root(), Manager::with_an_abstract_name());
    let Ok(theirs) = theirs else { skip!("only root can make a socket in /run") };
    let in_tmp = Manager::with_a_path();
    for rights in [Rights::SetUserId, Rights::FileCapabilities] {
        let copy = match MoreRights::of(&lives([]), rights) {
            Ok(copy) => copy,
            Err(why) => skip!("{rights:?}: {why}"),
        };
        let program = Session::start(theirs.watches(copy.command().env("WATCHDOG_USEC", "200000")));
        theirs.wait_for("READY=1");
        theirs.wait_for("WATCHDOG=1");
        program.stderr.wait_for("ready after");
        assert_eq!(program.stderr.count("ignored"), 0, "{:#?}", program.stderr.all());
        stop(program);
        for manager in [&abstract_one, &in_tmp] {
            let program = Session::start(manager.watches(copy.command().env("WATCHDOG_USEC", "200000")));
            program.stderr.wait_for("ready after");
            let line = program.stderr.wait_for("more rights than its caller");
            assert!(line.contains(": NOTIFY_SOCKET, WATCHDOG_USEC; "), "{line}");
            stop(program);
            assert_eq!(manager.receive_all(), [""; 0]);
        }
    }
}

/// The listeners come back as LISTEN_FDS, which a set-user-ID program does not trust.
#[test]
fn a_program_with_file_capabilities_has_its_listeners_stored_and_a_set_user_id_program_has_not() {
    let Ok(manager) = Manager::of_root() else { skip!("only root can make a socket in /run") };
    for (rights, is_stored) in [(Rights::SetUserId, false), (Rights::FileCapabilities, true)] {
        let copy = match MoreRights::of(&fixture("listens-to-each-kind"), rights) {
            Ok(copy) => copy,
            Err(why) => skip!("{rights:?}: {why}"),
        };
        let program = Session::start(manager.watches(copy.command().args(["tcp", "127.0.0.1:0"]).env("FDSTORE", "16")));
        let messages = manager.receive_until("READY=1");
        assert_eq!(messages.iter().any(|message| message.contains("FDSTORE=1")), is_stored, "{messages:#?}");
        program.stderr.wait_for("are ready");
        let ignored = program.stderr.count(": FDSTORE; ");
        assert_eq!(ignored, usize::from(!is_stored), "{:#?}", program.stderr.all());
        stop(program);
        manager.receive_all();
    }
}

/// Worker 0 hangs, and SIGABRT does not end it: for 5 s the slot is neither ready nor about to be.
fn hangs(manager: &Manager, workers: &str) -> Session {
    let steps = ["--heartbeat_timeout=200ms", "worker=0", "before-restart=1", "ignore", "beat"];
    let mut command = lives(steps);
    command.arg(format!("--workers={workers}")).env("WATCHDOG_USEC", "400000");
    let program = Session::start(manager.watches(&mut command));
    program.stderr.wait_for("it hangs; SIGABRT now");
    manager.receive_all();
    program
}

#[test]
fn one_bad_worker_does_not_take_down_the_rest() {
    // On a machine where that takes longer than those 5 s, once more.
    until("the watchdog hears of it while one hangs", || {
        let manager = Manager::with_a_path();
        let program = hangs(&manager, "2");
        (0..3).for_each(|_| drop(manager.wait_for("WATCHDOG=1")));
        let still_hangs = program.stderr.count("killing worker 0") == 0;
        stop(program);
        still_hangs.then_some(())
    });
}

#[test]
fn the_watchdog_hears_nothing_while_no_worker_is_ready_or_about_to_be() {
    let manager = Manager::with_a_path();
    let program = hangs(&manager, "1");
    let hung = nth_worker(&program, 0, 1);
    manager.wait_for("WATCHDOG=1");
    assert!(!is_alive(hung), "{:#?}", program.stderr.all());
    stop(program);
}

/// Status lines may be lost, the rest is told later, and nothing waits.
#[test]
fn a_manager_that_does_not_read_keeps_no_worker_waiting() {
    let manager = Manager::with_a_path();
    let mut command = fixture("reloads");
    manager.watches(&mut command);
    let address = manager.socket.local_addr().expect("an address");
    // Where the queue is long (systemd makes it 512 messages long), one sender's buffer is full first.
    let fill = || {
        let other = UnixDatagram::unbound().expect("a socket");
        other.set_nonblocking(true).expect("a flag");
        (0..).take_while(|_| other.send_to_addr(b"of another service", &address).is_ok()).count()
    };
    while fill() > 0 {}

    let mut pool = Pool::start(command);
    pool.wait_until_ready();
    for _ in 0..3 {
        let before = pool.stderr.count("reload done");
        pool.reload();
        pool.stderr.wait_for_nth("reload done", before + 1);
    }
    let messages = manager.receive_until("reload done");
    let ours = messages.iter().filter(|message| !message.contains("of another service"));
    let kinds: Vec<&str> = ours.map(|message| lines(message)[0]).filter(|line| !line.starts_with("STATUS")).collect();
    assert_eq!(kinds, ["READY=1", "RELOADING=1", "READY=1"], "{messages:#?}");
    pool.stop();
    manager.wait_for("STOPPING=1");
}

#[test]
fn a_manager_that_is_gone_is_missed_once() {
    let manager = Manager::with_a_path();
    let mut command = fixture("reloads");
    manager.watches(&mut command).env("WATCHDOG_USEC", "20000");
    drop(manager);
    let mut pool = Pool::start(command);
    pool.wait_until_ready();
    pool.reload();
    pool.stderr.wait_for("reload done");
    pool.stop();
    assert_eq!(pool.stderr.count("the service manager cannot be reached"), 1, "{:#?}", pool.stderr.all());
}

#[test]
fn an_address_that_is_not_understood_is_said_once() {
    let program = Session::start(lives([]).env("NOTIFY_SOCKET", "vsock:2:1234"));
    program.stderr.wait_for("NOTIFY_SOCKET=\"vsock:2:1234\" is ignored: only a path and @NAME are understood");
    program.stderr.wait_for("ready after");
    stop(program);
}
