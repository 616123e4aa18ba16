//! SIGHUP: all workers are replaced, in turns, or those that are there stay.

mod support;
use std::process::Command;

use support::pool::{Pool, Start};
use support::{Signal, fixture, is_alive, send};

/// Every way to ask for an overlapping reload.
fn overlapping() -> Vec<Command> {
    let mut by_environment = fixture("reloads-exclusively");
    by_environment.env("PREFORK_RELOAD", "overlap");
    let mut commands = vec![fixture("reloads"), fixture("reloads-by-builder"), by_environment];
    let mut by_enum = fixture("reloads-by-builder");
    by_enum.arg("overlap");
    commands.push(by_enum);
    commands
}

/// Every way to ask for an exclusive one.
fn exclusive() -> Vec<Command> {
    let mut by_environment = fixture("reloads");
    by_environment.env("PREFORK_RELOAD", "exclusive");
    let mut by_builder = fixture("reloads-by-builder");
    by_builder.arg("exclusive");
    vec![fixture("reloads-exclusively"), by_builder, by_environment]
}

/// There are lines that contain these, in this order.
fn assert_in_order(lines: &[String], expected: &[String]) {
    let mut rest = lines.iter();
    for part in expected {
        assert!(rest.any(|line| line.contains(part)), "{part:?} is missing, or comes too early, in {lines:#?}");
    }
}

/// What the pool says of one task id.
fn of_task(pool: &Pool, task_id: usize) -> Vec<String> {
    let name = format!("task {task_id} ");
    pool.stdout.all().into_iter().filter(|line| line.starts_with(&name)).collect()
}

fn wait_for_reloads(pool: &Pool, count: usize) {
    pool.stderr.wait_for_nth("reload done after", count);
}

/// Each task id was started this often, one after the other, by other processes, with the same configuration.
fn assert_starts(pool: &Pool, each: usize) {
    let starts = pool.wait_for_starts(3 * each);
    for task_id in 0..3 {
        let own: Vec<&Start> = starts.iter().filter(|start| start.task_id == task_id).collect();
        assert_eq!(own.iter().map(|start| start.restarts).collect::<Vec<_>>(), (0..each).collect::<Vec<_>>());
    }
    let mut pids: Vec<i32> = starts.iter().map(|start| start.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 3 * each, "{starts:#?}");
    assert!(starts.iter().all(|start| start.workers == 3), "{starts:#?}");
    assert!(starts.iter().all(|start| start.configuration == starts[0].configuration), "{starts:#?}");
}

/// What happened while one slot after the other was replaced `generation` times, in the supervisor's words.
fn replacements(pool: &Pool, generation: usize, overlap: bool) -> Vec<String> {
    let pid = |task_id, restarts| pool.wait_for_start(task_id, restarts).pid;
    let mut lines = vec!["reloading 3 workers, one at a time".to_owned()];
    for task_id in 0..3 {
        let (old, new) = (pid(task_id, generation - 1), pid(task_id, generation));
        let started = format!("worker {task_id} (pid {new}) started, restart {generation} of it");
        let replaced = format!("worker {task_id} (pid {old}) exited with status 0 after");
        if overlap {
            lines.extend([format!("{started}, to take the place of pid {old}"), replaced]);
        } else {
            lines.extend([replaced, started]);
        }
    }
    lines.push("reload done after".to_owned());
    lines
}

#[test]
fn an_overlapping_reload_has_a_replacement_ready_before_the_old_worker_is_told_to_stop() {
    for command in overlapping() {
        let mut pool = Pool::start_with(command, &[("configuration", "before")]);
        pool.wait_until_ready();
        pool.tell("configuration", "after");
        for reload in 1..=2 {
            pool.reload();
            wait_for_reloads(&pool, reload);
            assert_in_order(&pool.stderr.all(), &replacements(&pool, reload, true));
        }
        assert_eq!(pool.stderr.count(": 3 workers were replaced"), 2, "{:#?}", pool.stderr.all());
        assert_starts(&pool, 3);
        pool.stdout.wait_for_nth("returns", 6);
        assert!(pool.starts()[0].configuration.starts_with("\"before\""));
        for task_id in 0..3 {
            let lines = of_task(&pool, task_id);
            // The second has no lock that the third could miss.
            assert_eq!(lines.iter().filter(|line| line.contains("is not alone")).count(), 1, "{lines:#?}");
            let own: Vec<Start> = pool.starts().into_iter().filter(|start| start.task_id == task_id).collect();
            let told = |pair: &[Start]| {
                [format!("pid {} is ready", pair[1].pid), format!("pid {} is told to stop", pair[0].pid)]
            };
            assert_in_order(&lines, &own.windows(2).flat_map(told).collect::<Vec<_>>());
        }
        assert_eq!(pool.stderr.count("(1/100)"), 0);
        pool.stop();
    }
}

/// Promise 1, without exception.
#[test]
fn an_exclusive_reload_never_has_two_live_workers_with_one_task_id() {
    for command in exclusive() {
        let mut pool = Pool::start_with(command, &[("configuration", "before")]);
        pool.wait_until_ready();
        pool.tell("configuration", "after");
        for reload in 1..=3 {
            pool.reload();
            wait_for_reloads(&pool, reload);
            assert_in_order(&pool.stderr.all(), &replacements(&pool, reload, false));
        }
        assert_starts(&pool, 4);
        assert_eq!(pool.stdout.count("is not alone"), 0, "{:#?}", pool.stdout.all());
        assert_eq!(pool.stderr.count("(1/100)"), 0);
        pool.stop();
    }
}

#[test]
fn an_exclusive_reload_waits_for_the_old_worker_to_end_and_for_the_new_one_to_be_ready() {
    let mut pool = Pool::start_with(fixture("reloads-exclusively"), &[("stop-1", "wait")]);
    pool.wait_until_ready();
    let second = pool.wait_for_start(1, 0).pid;
    pool.tell("boot", "wait");
    pool.reload();
    pool.wait_for_start(0, 1);
    // Whatever comes next has waited for the first to be ready.
    assert_eq!(pool.stdout.count("is told to stop"), 1);
    pool.tell("booted", "");
    pool.stdout.wait_for(&format!("pid {second} is told to stop"));
    assert_eq!((pool.starts().len(), pool.children().len()), (4, 3));
    pool.tell("drained", "");
    wait_for_reloads(&pool, 1);
    assert_eq!(pool.stdout.count("is not alone"), 0);
    assert_starts(&pool, 2);
    pool.stop();
}

#[test]
fn a_second_sighup_during_a_reload_starts_over_when_the_first_is_done() {
    for command in [fixture("reloads"), fixture("reloads-exclusively")] {
        let mut pool = Pool::start_with(command, &[]);
        pool.wait_until_ready();
        pool.tell("boot-1", "wait");
        pool.reload();
        pool.wait_for_start(1, 1);
        // However many.
        for nth in 1..=3 {
            pool.reload();
            pool.stderr.wait_for_nth("workers are being replaced already; a reload begins when that is done", nth);
        }
        pool.tell("booted", "");
        wait_for_reloads(&pool, 2);
        assert_starts(&pool, 3);
        assert_eq!(pool.stderr.count("one at a time"), 2, "{:#?}", pool.stderr.all());
        pool.stop();
    }
}

/// The replacement of worker 1 does this, and the reload is abandoned with a line that says so.
fn is_abandoned(boot: &str, ready_timeout: Option<&str>, why: &str) {
    let mut command = fixture("reloads");
    ready_timeout.map(|timeout| command.env("PREFORK_READY_TIMEOUT", timeout));
    let mut pool = Pool::start_with(command, &[]);
    pool.wait_until_ready();
    let old = pool.wait_for_start(1, 0).pid;
    pool.tell("boot-1", boot);
    pool.reload();
    let line = pool.stderr.wait_for("reload abandoned");
    let new = pool.wait_for_start(1, 1).pid;
    let abandoned = format!("reload abandoned at worker 1: its replacement, worker 1 (pid {new}), ");
    assert!(line.contains(&abandoned) && line.contains(why), "{line}");
    assert!(line.contains(&format!("worker 1 (pid {old}) stays; 1 worker was replaced before")), "{line}");
    assert_eq!(pool.stderr.count("abandoned"), 1);
    let mut expected = vec![pool.wait_for_start(0, 1).pid, old, pool.wait_for_start(2, 0).pid];
    expected.sort_unstable();
    let mut children = pool.wait_for_children(3);
    children.sort_unstable();
    assert_eq!(children, expected);
    assert_eq!(pool.restarts(), [1, 1, 0]);
    // The next one is as good as the first.
    pool.tell_no_more("boot-1");
    pool.reload();
    wait_for_reloads(&pool, 1);
    pool.wait_for_start(1, 2);
    assert_eq!(pool.stderr.count("/100)"), 0, "{:#?}", pool.stderr.all());
    pool.stop();
}

#[test]
fn a_reload_is_abandoned_when_a_replacement_fails() {
    is_abandoned("fail", None, "exited with status 3 after ");
}

#[test]
fn a_reload_is_abandoned_when_a_replacement_says_that_trying_again_will_not_help() {
    is_abandoned("give up", None, "exited with status 125 after ");
}

#[test]
fn a_reload_is_abandoned_when_a_replacement_returns_before_it_is_ready() {
    is_abandoned("finish", None, "exited with status 0 after ");
}

#[test]
fn a_reload_is_abandoned_when_a_replacement_is_not_ready_in_time() {
    is_abandoned("never", Some("10s"), "was not ready in time and was killed after ");
}

#[test]
fn a_reload_is_abandoned_when_a_replacement_is_killed() {
    let mut pool = Pool::start(fixture("reloads"));
    pool.wait_until_ready();
    pool.tell("boot-2", "never");
    pool.reload();
    send(pool.wait_for_start(2, 1).pid, Signal::SIGKILL);
    let line = pool.stderr.wait_for("reload abandoned at worker 2: ");
    assert!(line.contains("killed by SIGKILL") && line.contains("the SIGKILL came from outside"), "{line}");
    assert!(line.contains("2 workers were replaced before"), "{line}");
    pool.stop();
}

#[test]
fn a_reload_that_was_asked_for_meanwhile_begins_when_one_is_abandoned() {
    let mut pool = Pool::start(fixture("reloads"));
    pool.wait_until_ready();
    pool.tell("boot-1", "never");
    pool.reload();
    pool.wait_for_start(1, 1);
    pool.reload();
    pool.stderr.wait_for("workers are being replaced already");
    // That one has read it.
    pool.tell_no_more("boot-1");
    send(pool.wait_for_start(1, 1).pid, Signal::SIGKILL);
    pool.stderr.wait_for("reload abandoned at worker 1");
    wait_for_reloads(&pool, 1);
    pool.wait_for_starts(8);
    assert_eq!(pool.restarts(), [2, 2, 1]);
    pool.stop();
}

#[test]
fn an_exclusive_reload_is_abandoned_and_its_slot_restarted_when_a_replacement_fails() {
    let mut pool = Pool::start(fixture("reloads-exclusively"));
    pool.wait_until_ready();
    pool.tell("boot-1", "wait");
    pool.reload();
    pool.wait_for_start(1, 1);
    pool.tell_no_more("boot-1");
    send(pool.wait_for_start(1, 1).pid, Signal::SIGKILL);
    let line = pool.stderr.wait_for("reload abandoned at worker 1: ");
    assert!(line.contains("the old worker had already ended; 1 worker was replaced before"), "{line}");
    assert_eq!(pool.stderr.count("restarting (1/100)"), 1, "{:#?}", pool.stderr.all());
    pool.wait_for_start(1, 2);
    pool.wait_for_children(3);
    assert_eq!(pool.restarts(), [1, 2, 0]);
    assert_eq!(pool.stdout.count("is not alone"), 0);
    pool.stop();
}

#[test]
fn a_reload_is_abandoned_when_a_replacement_cannot_be_forked() {
    let pool = Pool::start_as_a_user_of_its_own(fixture("reloads"));
    let mut pool = skip_unless!(pool, "others may not run what was built here");
    pool.wait_until_ready();
    let workers = pool.wait_for_children(3);
    pool.limit_processes("1");
    pool.reload();
    let line = pool.stderr.wait_for("reload abandoned at worker 0: its replacement cannot be forked: ");
    let old = pool.wait_for_start(0, 0).pid;
    assert!(
        line.contains(&format!("worker 0 (pid {old}) stays; no worker was replaced before; SIGHUP tries again")),
        "{line}"
    );
    assert_eq!(pool.children(), workers);
    pool.limit_processes_as_usual();
    pool.reload();
    wait_for_reloads(&pool, 1);
    assert_starts(&pool, 2);
    assert_eq!(pool.stderr.count("/100)"), 0, "{:#?}", pool.stderr.all());
    pool.stop();
}

#[test]
fn an_exclusive_reload_whose_fork_fails_is_tried_again_as_any_other() {
    let pool = Pool::start_as_a_user_of_its_own(fixture("reloads-exclusively"));
    let mut pool = skip_unless!(pool, "others may not run what was built here");
    pool.wait_until_ready();
    pool.limit_processes("1");
    pool.reload();
    pool.stderr.wait_for("worker 0 cannot be forked: ");
    pool.stderr.wait_for("reload abandoned at worker 0: its replacement cannot be forked: ");
    pool.limit_processes_as_usual();
    pool.wait_for_start(0, 1);
    pool.wait_for_children(3);
    pool.stop();
}

#[test]
fn a_stop_wins_over_a_reload_at_every_step() {
    // The replacement is not ready, the old worker does not return, the next replacement is not ready.
    let steps = [("boot-0", "restart 1,", 1), ("stop-0", "is told to stop", 1), ("boot-1", "restart 1,", 2)];
    for command in [fixture("reloads"), fixture("reloads-exclusively")] {
        for (step, line, nth) in steps {
            for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
                let mut pool = Pool::start(copy_of(&command));
                pool.wait_until_ready();
                pool.tell(step, "wait");
                pool.reload();
                pool.stdout.wait_for_nth(line, nth);
                pool.signal(signal);
                if signal != Signal::SIGQUIT {
                    pool.stderr.wait_for("stopping");
                    // It is not answered any more.
                    pool.reload();
                    pool.stderr.wait_for("is ignored: the pool is stopping");
                }
                pool.tell("booted", "");
                pool.tell("drained", "");
                assert_eq!(pool.exit_code(), 0, "{:#?}", pool.stderr.all());
                pool.stderr.wait_for(&format!("stopped by {signal} from pid"));
                assert_eq!(pool.stderr.count("reload done") + pool.stderr.count("abandoned"), 0);
                assert_eq!(pool.stderr.count("/100)"), 0);
                pool.wait_until_empty();
            }
        }
    }
}

fn copy_of(command: &Command) -> Command {
    let mut copy = support::clean_command(command.get_program().to_str().expect("text"));
    copy.args(command.get_args());
    copy
}

#[test]
fn a_reload_passes_over_a_slot_that_waits_for_its_backoff() {
    for style in ["overlap", "exclusive"] {
        let mut command = fixture("reloads");
        command.env("PREFORK_RELOAD", style).env("PREFORK_BACKOFF", "1h");
        let mut pool = Pool::start(command);
        pool.wait_until_ready();
        pool.tell("boot-1", "fail");
        send(pool.wait_for_start(1, 0).pid, Signal::SIGKILL);
        pool.stderr.wait_for("restarting in 1h");
        pool.tell_no_more("boot-1");
        pool.reload();
        let line = pool.stderr.wait_for("reload done after");
        assert!(line.contains("2 workers were replaced"), "{line}");
        pool.wait_for_starts(6);
        assert_eq!(pool.restarts(), [1, 1, 1]);
        assert_eq!(pool.children().len(), 2);
        pool.stop();
    }
}

#[test]
fn a_reload_leaves_finished_workers_finished() {
    let mut pool = Pool::start_with(fixture("reloads"), &[("boot-0", "finish"), ("boot-2", "finish")]);
    pool.wait_until_ready();
    pool.stderr.wait_for_nth("finished with status 0", 2);
    pool.tell_no_more("boot-0");
    pool.reload();
    pool.stderr.wait_for("reloading 1 worker");
    let line = pool.stderr.wait_for("reload done after");
    assert!(line.contains("1 worker was replaced"), "{line}");
    assert_eq!(pool.children(), [pool.wait_for_start(1, 1).pid]);
    assert_eq!(pool.restarts(), [0, 1, 0]);
    pool.stop();
}

#[test]
fn an_old_worker_that_fails_meanwhile_leaves_its_place_to_its_replacement() {
    let mut pool = Pool::start(fixture("reloads"));
    pool.wait_until_ready();
    let old = pool.wait_for_start(0, 0).pid;
    pool.tell("boot-0", "wait");
    pool.reload();
    pool.wait_for_start(0, 1);
    send(old, Signal::SIGKILL);
    pool.stderr.wait_for(&format!("worker 0 (pid {old}) killed by SIGKILL"));
    pool.tell("booted", "");
    wait_for_reloads(&pool, 1);
    assert_starts(&pool, 2);
    pool.stop();
}

#[test]
fn an_old_worker_that_does_not_end_is_killed_after_graceful_timeout() {
    for command in [fixture("reloads"), fixture("reloads-exclusively")] {
        let mut command = command;
        command.env("PREFORK_GRACEFUL_TIMEOUT", "500ms");
        let mut pool = Pool::start_with(command, &[("stop-1", "wait")]);
        pool.wait_until_ready();
        let old = pool.wait_for_start(1, 0).pid;
        pool.reload();
        pool.stderr.wait_for(&format!("killing worker 1 (pid {old}), which did not end within 500ms"));
        wait_for_reloads(&pool, 1);
        assert!(!is_alive(old));
        assert_starts(&pool, 2);
        assert_eq!(pool.stderr.count("/100)"), 0, "{:#?}", pool.stderr.all());
        pool.tell("drained", "");
        pool.stop();
    }
}

#[test]
fn without_ready_timeout_a_replacement_is_ready_when_it_starts() {
    for style in ["overlap", "exclusive"] {
        let mut command = fixture("reloads");
        command.env("PREFORK_READY_TIMEOUT", "none").env("PREFORK_RELOAD", style);
        let mut pool = Pool::start_with(command, &[("boot", "wait")]);
        pool.wait_until_ready();
        // Those that are there end without having said anything, too.
        pool.stdout.wait_for_nth("starts", 3);
        pool.tell("booted", "");
        pool.stdout.wait_for_nth("is ready", 3);
        for reload in 1..=3 {
            pool.reload();
            wait_for_reloads(&pool, reload);
        }
        pool.wait_for_children(3);
        assert_eq!(pool.stderr.count("restart 3 of it"), 3, "{:#?}", pool.stderr.all());
        pool.stop();
    }
}

/// A reload of eight workers, two at once, that has told the first two to end, which they do when they are told `drained`.
fn reloading_two_at_once(mut command: Command) -> Pool {
    command.env("PREFORK_WORKERS", "8");
    let pool = Pool::start_with(command, &[("stop", "wait")]);
    pool.wait_until_ready();
    pool.stdout.wait_for_nth("is ready", 8);
    pool.reload();
    pool.stderr.wait_for("reloading 8 workers, 2 at a time");
    pool.stdout.wait_for_nth("is told to stop", 2);
    pool
}

/// The supervisor has done all that it can do without another fact.
fn settle(pool: &Pool) {
    pool.reload();
    pool.stderr.wait_for("workers are being replaced already");
}

#[test]
fn a_quarter_of_the_workers_is_replaced_at_once_and_there_are_never_more_processes() {
    let mut pool = reloading_two_at_once(fixture("reloads"));
    settle(&pool);
    assert_eq!((pool.wait_for_starts(10).len(), pool.children().len()), (10, 10));
    assert_eq!(pool.stdout.count("is told to stop"), 2, "{:#?}", pool.stdout.all());
    pool.tell("drained", "");
    wait_for_reloads(&pool, 2);
    assert_eq!(pool.stderr.count(": 8 workers were replaced"), 2, "{:#?}", pool.stderr.all());
    pool.wait_for_starts(24);
    assert_eq!(pool.restarts(), [2; 8]);
    assert_eq!(pool.stderr.count("/100)"), 0);
    pool.stop();
}

#[test]
fn an_exclusive_reload_replaces_a_quarter_of_the_workers_at_once_too() {
    let mut pool = reloading_two_at_once(fixture("reloads-exclusively"));
    settle(&pool);
    assert_eq!((pool.starts().len(), pool.children().len()), (8, 8));
    assert_eq!(pool.stdout.count("is told to stop"), 2, "{:#?}", pool.stdout.all());
    pool.tell("drained", "");
    wait_for_reloads(&pool, 2);
    pool.wait_for_starts(24);
    assert_eq!((pool.restarts(), pool.stdout.count("is not alone")), (vec![2; 8], 0));
    pool.stop();
}

#[test]
fn a_turn_begins_when_another_one_ends_while_a_third_goes_on() {
    let mut command = fixture("reloads");
    command.env("PREFORK_WORKERS", "4").env("PREFORK_RELOAD_WIDTH", "2");
    let mut pool = Pool::start_with(command, &[("stop-0", "wait")]);
    pool.wait_until_ready();
    let first = pool.wait_for_start(0, 0).pid;
    pool.reload();
    for task_id in 1..4 {
        let old = pool.wait_for_start(task_id, 0).pid;
        pool.stderr.wait_for(&format!("worker {task_id} (pid {old}) exited with status 0"));
    }
    assert!(is_alive(first) && pool.stderr.count("reload done") == 0);
    pool.tell("drained", "");
    wait_for_reloads(&pool, 1);
    pool.stop();
}

#[test]
fn when_a_replacement_fails_turns_beyond_readiness_end_and_the_other_old_workers_stay() {
    let mut command = fixture("reloads");
    command.env("PREFORK_WORKERS", "4").env("PREFORK_RELOAD_WIDTH", "75%");
    let mut pool = Pool::start_with(command, &[("stop-0", "wait")]);
    pool.wait_until_ready();
    let old: Vec<i32> = (0..4).map(|task_id| pool.wait_for_start(task_id, 0).pid).collect();
    pool.tell("boot-1", "wait");
    pool.tell("boot-2", "wait");
    pool.reload();
    let new: Vec<i32> = (0..3).map(|task_id| pool.wait_for_start(task_id, 1).pid).collect();
    pool.stdout.wait_for(&format!("pid {} is told to stop", old[0]));
    pool.tell_no_more("boot-1");
    pool.tell_no_more("boot-2");
    send(new[1], Signal::SIGKILL);
    let line = pool.stderr.wait_for("reload abandoned at worker 1: ");
    for part in [
        format!("worker 1 (pid {}) stays; no worker was replaced before", old[1]),
        "; 1 other worker is still being replaced; 1 other replacement was not ready and is stopped; SIGHUP".to_owned(),
    ] {
        assert!(line.contains(&part), "{line}");
    }
    // The fixture takes a stop for the time when it is ready.
    pool.tell("booted", "");
    pool.tell("drained", "");
    for gone in [old[0], new[2]] {
        pool.stderr.wait_for(&format!("(pid {gone}) exited with status 0"));
    }
    let mut expected = vec![new[0], old[1], old[2], old[3]];
    expected.sort_unstable();
    let mut children = pool.wait_for_children(4);
    children.sort_unstable();
    assert_eq!(children, expected);
    pool.reload();
    wait_for_reloads(&pool, 1);
    assert_eq!(pool.stderr.count("/100)"), 0, "{:#?}", pool.stderr.all());
    pool.stop();
}
