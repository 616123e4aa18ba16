//! SIGTTIN and SIGTTOU by a process: one worker more, one fewer. SIGUSR1: passed on to every worker.

mod support;

use support::pool::Pool;
use support::session::Session;
use support::{Signal, fixture, is_alive, moments, send, status_of, until, wait_until_gone};

/// Signals of one kind that are pending together are one: each is sent when the one before is answered.
fn scale(program: &Session, signal: Signal, words: &str) {
    let before = program.stderr.count(words);
    program.signal(signal);
    program.stderr.wait_for_nth(words, before + 1);
}

#[test]
fn sigttin_starts_one_worker_more_with_the_next_free_task_id() {
    let mut pool = Pool::start(fixture("reloads"));
    pool.wait_until_ready();
    for workers in 4..=6 {
        scale(&pool, Signal::SIGTTIN, &format!("{workers} workers instead of {}", workers - 1));
        let start = pool.wait_for_start(workers - 1, 0);
        // It knows how many they are now. The others know how many they were.
        assert_eq!(start.workers, workers);
        pool.wait_for_children(workers);
    }
    pool.stdout.wait_for_nth("is ready", 6);
    let by = std::process::id();
    pool.stderr.wait_for(&format!("SIGTTIN from pid {by}: 4 workers instead of 3"));
    // The new ones are replaced and reloaded as the others are.
    send(pool.wait_for_start(5, 0).pid, Signal::SIGKILL);
    assert_eq!(pool.wait_for_start(5, 1).workers, 6);
    pool.stdout.wait_for_nth("is ready", 7);
    pool.reload();
    pool.stderr.wait_for(": 6 workers were replaced");
    assert_eq!(pool.wait_for_start(0, 1).workers, 6);
    pool.stop();
}

#[test]
fn sigttou_ends_the_worker_with_the_highest_task_id_gracefully_and_never_the_last() {
    let mut pool = Pool::start_with(fixture("reloads"), &[("stop-2", "wait")]);
    pool.wait_until_ready();
    let pids: Vec<i32> = (0..3).map(|task_id| pool.wait_for_start(task_id, 0).pid).collect();
    scale(&pool, Signal::SIGTTOU, "2 workers instead of 3");
    pool.stdout.wait_for(&format!("task 2 pid {} is told to stop", pids[2]));
    assert!(is_alive(pids[2]));
    // It drains while the next one goes.
    scale(&pool, Signal::SIGTTOU, "1 worker instead of 2");
    wait_until_gone(&pids[1..2]);
    for _ in 0..3 {
        scale(&pool, Signal::SIGTTOU, "the last worker stays; SIGTERM stops it");
    }
    pool.tell("drained", "");
    pool.stderr.wait_for(&format!("worker 2 (pid {}) exited with status 0 after", pids[2]));
    assert_eq!(pool.wait_for_children(1), pids[..1]);
    assert_eq!(pool.stderr.count(", stopped"), 2, "{:#?}", pool.stderr.all());
    // Task ids that come back know that they were started once before.
    scale(&pool, Signal::SIGTTIN, "2 workers instead of 1");
    assert_eq!(pool.wait_for_start(1, 1).workers, 2);
    assert_eq!(pool.stderr.count("/100)"), 0, "{:#?}", pool.stderr.all());
    pool.stop();
}

#[test]
fn a_task_id_that_comes_back_waits_for_its_last_worker() {
    for style in ["overlap", "exclusive"] {
        let mut command = fixture("reloads");
        command.env("PREFORK_RELOAD", style);
        let mut pool = Pool::start_with(command, &[("stop-2", "wait")]);
        pool.wait_until_ready();
        scale(&pool, Signal::SIGTTOU, "2 workers instead of 3");
        pool.stdout.wait_for("is told to stop");
        scale(&pool, Signal::SIGTTIN, "3 workers instead of 2");
        // An answer, after which it would have been started.
        scale(&pool, Signal::SIGTTIN, "4 workers instead of 3");
        pool.wait_for_start(3, 0);
        assert_eq!(pool.restarts(), [0, 0, 0, 0]);
        pool.tell("drained", "");
        pool.wait_for_start(2, 1);
        pool.wait_for_children(4);
        assert_eq!(pool.stdout.count("is not alone"), 0);
        pool.stop();
    }
}

#[test]
fn there_are_at_most_so_many_workers_as_the_run_has_room_for() {
    let mut program = Session::start(fixture("sleeps").env("PREFORK_WORKERS", "1"));
    program.wait_for_children(1);
    for workers in 2..=65 {
        scale(&program, Signal::SIGTTIN, &format!(": {workers} workers instead of"));
    }
    scale(
        &program,
        Signal::SIGTTIN,
        "65 workers are the most that this run has room for; restart the service with a larger `workers`",
    );
    program.wait_for_children(65);
    for workers in (1..=64).rev() {
        scale(&program, Signal::SIGTTOU, &format!(" instead of {}", workers + 1));
    }
    program.wait_for_children(1);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

#[test]
fn sigttou_for_a_slot_in_backoff_means_that_it_is_not_started_again() {
    let mut command = fixture("reloads");
    command.env("PREFORK_BACKOFF", "10s..10s");
    let mut pool = Pool::start(command);
    pool.wait_until_ready();
    pool.tell("boot-2", "fail");
    send(pool.wait_for_start(2, 0).pid, Signal::SIGKILL);
    pool.stderr.wait_for("restarting in 10s");
    scale(&pool, Signal::SIGTTOU, "2 workers instead of 3");
    assert_eq!(pool.children().len(), 2);
    // As long as the backoff of another slot, which begins later.
    pool.tell("boot-1", "fail");
    send(pool.wait_for_start(1, 0).pid, Signal::SIGKILL);
    pool.stderr.wait_for_nth("restarting in 10s", 2);
    pool.tell_no_more("boot-1");
    pool.wait_for_start(1, 2);
    pool.wait_for_children(2);
    assert_eq!(pool.restarts(), [0, 2, 1]);
    // Back, it has no backoff.
    pool.tell_no_more("boot-2");
    scale(&pool, Signal::SIGTTIN, "3 workers instead of 2");
    pool.wait_for_start(2, 2);
    pool.stop();
}

#[test]
fn sigttou_for_a_slot_that_is_being_replaced_ends_both_workers() {
    for style in ["overlap", "exclusive"] {
        let mut command = fixture("reloads");
        command.env("PREFORK_RELOAD", style);
        let mut pool = Pool::start(command);
        pool.wait_until_ready();
        pool.tell("boot-2", "wait");
        pool.reload();
        pool.wait_for_start(2, 1);
        scale(&pool, Signal::SIGTTOU, "2 workers instead of 3");
        pool.tell("booted", "");
        pool.wait_for_children(2);
        let line = pool.stderr.wait_for("reload done");
        assert!(line.contains("2 workers were replaced"), "{line}");
        assert_eq!(pool.stderr.count("abandoned") + pool.stderr.count("/100)"), 0, "{:#?}", pool.stderr.all());
        pool.stop();
    }
}

/// No worker is lost of a task id that went and came back while its worker's replacement drains.
#[test]
fn a_task_id_that_comes_back_waits_for_a_replacement_that_drains() {
    let mut pool = Pool::start(fixture("reloads"));
    pool.wait_until_ready();
    let old = pool.wait_for_start(2, 0).pid;
    pool.tell("boot-2", "wait");
    pool.reload();
    let replacement = pool.wait_for_start(2, 1).pid;
    scale(&pool, Signal::SIGTTOU, "2 workers instead of 3");
    wait_until_gone(&[old]);
    // The replacement has a handler for SIGTERM and does not return yet.
    assert!(is_alive(replacement));
    pool.tell_no_more("boot-2");
    scale(&pool, Signal::SIGTTIN, "3 workers instead of 2");
    scale(&pool, Signal::SIGTTIN, "4 workers instead of 3");
    pool.wait_for_start(3, 0);
    pool.stdout.wait_for_nth("is ready", 6);
    // The slot is passed over.
    pool.reload();
    pool.stderr.wait_for_nth("reload done", 2);
    pool.wait_for_starts(10);
    assert_eq!(pool.restarts(), [2, 2, 1, 1]);
    pool.tell("booted", "");
    pool.stderr.wait_for(&format!("worker 2 (pid {replacement}) exited with status 0"));
    pool.wait_for_start(2, 2);
    pool.wait_for_children(4);
    pool.stop();
}

#[test]
fn a_pool_that_is_stopping_is_not_scaled() {
    let mut pool = Pool::start_with(fixture("reloads"), &[("stop", "wait")]);
    pool.wait_until_ready();
    pool.signal(Signal::SIGTERM);
    pool.stderr.wait_for("stopping 3 workers");
    for (nth, signal) in [Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGHUP].into_iter().enumerate() {
        pool.signal(signal);
        let line = pool.stderr.wait_for_nth("is ignored: the pool is stopping", nth + 1);
        assert!(line.contains(&format!("{signal} from pid {}", std::process::id())), "{line}");
    }
    pool.tell("drained", "");
    assert_eq!(pool.exit_code(), 0);
    assert_eq!(pool.starts().len(), 3);
    pool.wait_until_empty();
}

#[test]
fn a_worker_that_has_finished_is_one_that_sigttou_can_remove() {
    let mut pool = Pool::start_with(fixture("reloads"), &[("boot-2", "finish")]);
    pool.stderr.wait_for("finished with status 0");
    pool.wait_until_ready();
    scale(&pool, Signal::SIGTTOU, "2 workers instead of 3");
    pool.tell_no_more("boot-2");
    scale(&pool, Signal::SIGTTIN, "3 workers instead of 2");
    pool.wait_for_start(2, 1);
    pool.stop();
}

/// Promise 4.
#[test]
fn no_sigttin_sigttou_or_sighup_is_lost_while_workers_are_forked() {
    for moment in moments().take(10) {
        let mut command = fixture("dies-young");
        let mut program = Session::start(command.env("PREFORK_BACKOFF", "0s").env("PREFORK_MAX_RESTARTS", "unlimited"));
        program.stderr.wait_for_nth("restarting", 10);
        let wait = || std::thread::sleep(std::time::Duration::from_micros(moment % 4000));
        wait();
        scale(&program, Signal::SIGTTIN, "3 workers instead of 2");
        wait();
        program.signal(Signal::SIGHUP);
        program.stderr.wait_for("one at a time");
        wait();
        scale(&program, Signal::SIGTTOU, "2 workers instead of 3");
        wait();
        scale(&program, Signal::SIGTTOU, "1 worker instead of 2");
        program.signal(Signal::SIGTERM);
        assert_eq!(program.exit_code(), 0);
        program.wait_until_empty();
    }
}

#[test]
fn sigusr1_is_passed_on_to_every_worker_and_ends_none() {
    let mut program = Session::start(&mut fixture("catches-usr1"));
    program.stdout.wait_for_nth("pid", 4);
    let mut workers = program.wait_for_children(4);
    for nth in 1..=3 {
        program.signal(Signal::SIGUSR1);
        let line = program.stderr.wait_for_nth("SIGUSR1", nth);
        program.stdout.wait_for_nth("reopens its log", 2 * nth);
        assert_eq!(line, format!("prefork: SIGUSR1 from pid {}: passed on to 4 workers", std::process::id()));
    }
    let mut now = program.children();
    workers.sort_unstable();
    now.sort_unstable();
    assert_eq!(now, workers);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}

/// A pending signal is one, however often it is sent.
#[test]
fn a_signal_to_scale_that_comes_when_the_one_before_was_read_is_heard() {
    let mut program = Session::start(&mut fixture("sleeps"));
    program.wait_for_children(3);
    let signals =
        [Signal::SIGTTIN, Signal::SIGTTIN, Signal::SIGTTIN, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGTTOU];
    for (nth, signal) in (1..).zip(signals) {
        program.signal(signal);
        until("it is read", || (status_of(program.pid(), "ShdPnd") == "0".repeat(16)).then_some(()));
        // Without signalfd it is only noted by then, and the next would be one with it.
        if cfg!(prefork_portable) {
            program.stderr.wait_for_nth(" instead of ", nth);
        }
    }
    program.stderr.wait_for("5 workers instead of 6");
    assert_eq!(program.stderr.count(" instead of "), 6, "{:#?}", program.stderr.all());
    program.stop();
}

#[test]
fn sigusr1_kills_no_worker_that_has_only_just_been_forked() {
    let mut command = fixture("catches-usr1");
    command.arg("fail").env("PREFORK_BACKOFF", "0s").env("PREFORK_MAX_RESTARTS", "unlimited");
    let mut program = Session::start(&mut command);
    program.stdout.wait_for("task 0");
    program.stdout.wait_for("task 2");
    until("many are sent while others are forked", || {
        program.signal(Signal::SIGUSR1);
        (program.stderr.count("restarting") > 500).then_some(())
    });
    assert_eq!(program.stderr.count("killed by SIGUSR1"), 0);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}
