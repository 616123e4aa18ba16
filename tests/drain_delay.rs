//! After a SIGTERM the pool serves on for `drain_delay`, and then stops as without it.

mod support;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

use support::lives::{WAYS, let_go_on, lives, nth_worker, start};
use support::manager::Manager;
use support::pool::Pool;
use support::session::Session;
use support::{Signal, fixture, is_alive, send};

/// Three workers that serve on for an hour after SIGTERM, which was sent.
fn stopping_in_an_hour() -> Pool {
    let mut command = fixture("reloads");
    command.env("PREFORK_DRAIN_DELAY", "1h");
    let pool = Pool::start(command);
    pool.wait_until_ready();
    pool.stdout.wait_for_nth("is ready", 3);
    pool.signal(Signal::SIGTERM);
    pool.stderr.wait_for("stopping in 1h00m (drain_delay); 3 workers serve on until then");
    pool
}

/// It is answered after everything that came before.
fn is_refused(pool: &Pool, signal: Signal) {
    pool.signal(signal);
    pool.stderr.wait_for(&format!("{signal} from pid {} is ignored: the pool is stopping", std::process::id()));
}

#[test]
fn workers_are_told_to_stop_when_the_delay_is_over_and_then_have_graceful_timeout() {
    for way in WAYS {
        let options = [("drain_delay", "500ms"), ("graceful_timeout", "300ms")];
        let mut program = Session::start(&mut way.lives(options, ["ignore", "ready"]));
        program.stdout.wait_for_nth("says that it is ready", 2);
        let asked = Instant::now();
        program.signal(Signal::SIGTERM);
        program.stderr.wait_for("drain_delay is over: stopping 2 workers, at most 300ms");
        assert!(asked.elapsed().as_millis() >= 500, "{way:?}: {:?}", asked.elapsed());
        program.stderr.wait_for("killing 2 workers that did not end within 300ms (graceful_timeout)");
        assert_eq!(program.exit_code(), 0, "{way:?}");
        program.wait_until_empty();
        let last = program.stderr.all().pop().expect("lines");
        let by = format!("prefork: stopped by SIGTERM from pid {}; 2 had to be killed", std::process::id());
        assert!(last.starts_with(&by), "{last}");
    }
}

#[test]
fn workers_drain_after_the_delay() {
    let mut command = fixture("reloads");
    command.env("PREFORK_DRAIN_DELAY", "100ms");
    let mut pool = Pool::start(command);
    pool.wait_until_ready();
    pool.stdout.wait_for_nth("is ready", 3);
    pool.signal(Signal::SIGTERM);
    assert_eq!(pool.exit_code(), 0);
    assert_eq!(pool.stdout.count("returns"), 3, "{:#?}", pool.stdout.all());
    assert_eq!(pool.stderr.count("killing"), 0);
}

#[test]
fn the_service_manager_hears_of_the_stop_before_any_worker_does_and_is_asked_for_all_of_the_time() {
    let manager = Manager::with_a_path();
    let mut command = fixture("reloads");
    manager.watches(&mut command).env("PREFORK_DRAIN_DELAY", "1h").env("PREFORK_GRACEFUL_TIMEOUT", "25s");
    let mut pool = Pool::start(command);
    manager.wait_for("READY=1");
    pool.stdout.wait_for_nth("is ready", 3);
    pool.signal(Signal::SIGTERM);
    let message = manager.wait_for("STOPPING=1");
    let lines: Vec<&str> = message.lines().collect();
    let seconds = 3600 + 25 + 10;
    assert_eq!(lines[..2], ["STOPPING=1".to_owned(), format!("EXTEND_TIMEOUT_USEC={seconds}000000")]);
    assert!(lines[2].starts_with("STATUS=SIGTERM from pid ") && lines[2].contains("stopping in 1h00m"), "{message}");
    is_refused(&pool, Signal::SIGTTIN);
    assert_eq!((pool.stdout.count("is told to stop"), pool.children().len()), (0, 3));
    pool.signal(Signal::SIGINT);
    assert_eq!(pool.exit_code(), 0);
    let messages = manager.receive_all();
    assert!(!messages.iter().any(|message| message.contains("STOPPING=1")), "once: {messages:#?}");
}

/// Connects, and is answered by a worker.
fn is_answered(address: &str) {
    let mut connection = TcpStream::connect(address).expect("a listener");
    connection.write_all(b"?").expect("a worker");
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer).expect("an answer");
    assert!(answer.starts_with('+') && answer.len() > 1, "{answer:?}");
}

#[test]
fn new_connections_are_served_and_workers_that_die_replaced() {
    for reuse_port in ["false", "true"] {
        let mut command = fixture("answers-at-once");
        command.arg("environment").env("PREFORK_REUSE_PORT", reuse_port);
        command.env("PREFORK_DRAIN_DELAY", "1h").env("PREFORK_BACKOFF", "0s");
        let mut program = Session::start(&mut command);
        program.stdout.wait_for_nth(" serves", 4);
        let line = program.stderr.wait_for("listening on ");
        let (_, address) = line.split_once("listening on ").expect("an address");
        let address = address.split([',', ' ']).next().expect("an address");
        program.signal(Signal::SIGTERM);
        program.stderr.wait_for("stopping in 1h00m (drain_delay); 4 workers serve on until then");
        (0..20).for_each(|_| is_answered(address));
        let old = program.wait_for_children(4);
        for &worker in &old {
            send(worker, Signal::SIGKILL);
        }
        program.stdout.wait_for_nth(" serves", 8);
        (0..20).for_each(|_| is_answered(address));
        let new = program.wait_for_children(4);
        assert!(new.iter().all(|worker| !old.contains(worker)), "{old:?} {new:?}");
        assert_eq!(program.stderr.count("restarting ("), 4, "{:#?}", program.stderr.all());
        program.signal(Signal::SIGQUIT);
        assert_eq!(program.exit_code(), 0);
        program.wait_until_empty();
    }
}

#[test]
fn nothing_else_is_begun_during_the_delay_and_a_line_says_so_each_time() {
    let mut pool = stopping_in_an_hour();
    let signals = [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGTTIN, Signal::SIGTTOU];
    signals.into_iter().for_each(|signal| is_refused(&pool, signal));
    assert_eq!(pool.stderr.count("is ignored"), 4, "{:#?}", pool.stderr.all());
    assert_eq!((pool.starts().len(), pool.children().len()), (3, 3));
    pool.signal(Signal::SIGINT);
    assert_eq!(pool.exit_code(), 0);
}

#[test]
fn sigterm_repeated_does_not_shorten_the_delay_and_sigint_or_sigquit_kills_at_once() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let mut pool = stopping_in_an_hour();
        for _ in 0..3 {
            pool.signal(Signal::SIGTERM);
            pool.signal(Signal::SIGTTIN);
            pool.stderr.wait_for("SIGTTIN from pid");
        }
        pool.stderr.wait_for("SIGTERM from pid");
        is_refused(&pool, Signal::SIGTTOU);
        assert_eq!(pool.stderr.count("already stopping"), 1, "{:#?}", pool.stderr.all());
        assert_eq!((pool.stdout.count("is told to stop"), pool.children().len()), (0, 3));
        pool.signal(signal);
        assert_eq!(pool.exit_code(), 0);
        pool.stderr.wait_for(&format!("{signal} from pid {}: killing 3 workers", std::process::id()));
        pool.wait_until_empty();
        assert_eq!(pool.stdout.count("is told to stop"), 0, "{:#?}", pool.stdout.all());
    }
}

#[test]
fn sigint_from_a_process_is_delayed_as_sigterm_is() {
    let mut command = fixture("reloads");
    command.env("PREFORK_DRAIN_DELAY", "2s");
    let mut pool = Pool::start(command);
    pool.wait_until_ready();
    pool.stdout.wait_for_nth("is ready", 3);
    pool.signal(Signal::SIGINT);
    pool.stderr.wait_for("stopping in 2s (drain_delay); 3 workers serve on until then");
    assert_eq!(pool.exit_code(), 0);
    pool.stderr.wait_for("drain_delay is over: stopping 3 workers");
    assert_eq!(pool.stdout.count("returns"), 3, "{:#?}", pool.stderr.all());
}

#[test]
fn a_reload_in_progress_ends_with_the_workers_that_are_ready() {
    let mut command = fixture("reloads");
    command.env("PREFORK_DRAIN_DELAY", "1h").env("PREFORK_RELOAD_WIDTH", "2");
    let mut pool = Pool::start_with(command, &[("stop-0", "wait")]);
    pool.wait_until_ready();
    let old: Vec<i32> = (0..3).map(|task_id| pool.wait_for_start(task_id, 0).pid).collect();
    pool.tell("boot-1", "wait");
    pool.reload();
    pool.stdout.wait_for(&format!("pid {} is told to stop", old[0]));
    let new: Vec<i32> = (0..2).map(|task_id| pool.wait_for_start(task_id, 1).pid).collect();
    pool.signal(Signal::SIGTERM);
    pool.stderr.wait_for("stopping in 1h00m (drain_delay); 5 workers serve on until then");
    pool.tell("booted", "");
    pool.tell("drained", "");
    pool.stderr.wait_for(&format!("worker 0 (pid {}) exited with status 0", old[0]));
    pool.stderr.wait_for(&format!("worker 1 (pid {}) exited with status 0", new[1]));
    let mut children = pool.wait_for_children(3);
    children.sort_unstable();
    let mut expected = vec![new[0], old[1], old[2]];
    expected.sort_unstable();
    assert_eq!(children, expected);
    assert_eq!(pool.starts().len(), 5);
    pool.signal(Signal::SIGINT);
    assert_eq!(pool.exit_code(), 0);
    assert!(!is_alive(old[1]));
}

#[test]
fn a_pool_that_gives_up_during_the_delay_ends_at_once_with_the_status_of_the_stop() {
    let steps = ["--drain_delay=1h", "--max_restarts=0", "worker=1", "read", "exit=3"];
    let (mut program, writer) = start(&mut lives(steps));
    nth_worker(&program, 1, 1);
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping in 1h00m (drain_delay)");
    let_go_on(&writer, 1);
    assert_eq!(program.exit_code(), 0);
    program.stderr.wait_for("giving up: 0 of 0 restarts are used");
    let last = program.stderr.all().pop().expect("lines");
    assert!(last.starts_with("prefork: stopped by SIGTERM from pid "), "{last}");
}

#[test]
fn the_delay_ends_when_all_workers_have_finished() {
    let (mut program, writer) = start(&mut lives(["--drain_delay=1h", "read", "return=0"]));
    nth_worker(&program, 0, 1);
    nth_worker(&program, 1, 1);
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping in 1h00m (drain_delay)");
    let_go_on(&writer, 2);
    assert_eq!(program.exit_code(), 0);
    program.stderr.wait_for("stopped by SIGTERM from pid ");
}

#[test]
fn one_process_without_workers_has_no_delay_and_a_line_says_so() {
    let mut command = lives(["return=0"]);
    command.env("PREFORK", "off").env("PREFORK_DRAIN_DELAY", "1h");
    let mut program = Session::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    let line = program.stderr.wait_for("PREFORK=off");
    assert!(line.contains("not used without workers") && line.contains("PREFORK_DRAIN_DELAY"), "{line}");
}
