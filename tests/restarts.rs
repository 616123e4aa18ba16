//! Which workers are replaced when they end, how often, how soon, and what the log says when that is over.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use support::lives::{WAYS, Way, let_go_on, lives, nth_worker, settle, start};
use support::session::Session;
use support::{Program, Signal, clean_command, fixture, send, state_of, until, wait_until_gone, words};

fn last_line(program: &Program) -> String {
    program.stderr.all().pop().expect("lines")
}

/// Stops the pool, which takes nothing but the word.
fn stop(mut program: Session) {
    program.stop();
    assert!(last_line(&program).starts_with("prefork: stopped by SIGTERM from pid"), "{:#?}", program.stderr.all());
    program.wait_until_empty();
}

/// The supervisor gave up, and no process is left.
fn gives_up(program: &mut Session, because: &str, last: &str) {
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.wait_until_empty();
    let line = program.stderr.wait_for("giving up: ");
    assert!(line.contains(because), "{line}");
    assert!(last_line(program).starts_with(&format!("prefork: gave up: {last}")), "{:#?}", program.stderr.all());
}

#[test]
fn a_restart_older_than_restart_window_is_forgotten() {
    const WINDOW: Duration = Duration::from_millis(100);
    for way in WAYS {
        let options = [("max_restarts", "1"), ("restart_window", "100ms")];
        let program = Session::start(&mut way.lives(options, []));
        for nth in 1..=3 {
            send(nth_worker(&program, 0, nth), Signal::SIGKILL);
            program.stderr.wait_for_nth("restarting (1/1)", nth);
            let counted = Instant::now();
            until("the window is over", || (counted.elapsed() > WINDOW).then_some(()));
        }
        assert_eq!(program.stderr.count("giving up"), 0, "{way:?}");
        stop(program);
    }
}

#[test]
fn more_restarts_than_max_restarts_within_restart_window_give_up() {
    for way in WAYS {
        let options = [("max_restarts", "2"), ("restart_window", "1h")];
        let mut program = Session::start(&mut way.lives(options, ["worker=1", "exit=3"]));
        gives_up(
            &mut program,
            "2 of 2 restarts are used within 1h00m (restart_window)",
            "worker 1 ended abnormally and all 2 restarts (max_restarts)",
        );
        assert!(last_line(&program).contains("restart_window"), "{}", last_line(&program));
    }
}

#[test]
fn many_workers_have_more_restarts_by_default() {
    for (workers, counted) in [("10", "(1/100)"), ("11", "(1/110)")] {
        let program = Session::start(fixture("sleeps").env("PREFORK_WORKERS", workers));
        send(nth_worker(&program, 1, 1), Signal::SIGKILL);
        program.stderr.wait_for(counted);
        assert_eq!(program.stderr.count("is less than"), 0);
        stop(program);
    }
}

#[test]
fn fewer_restarts_than_workers_are_warned_of() {
    for way in WAYS {
        for (max_restarts, warnings) in [("4", 0), ("3", 1), ("unlimited", 0)] {
            let program = Session::start(&mut way.lives([("workers", "4"), ("max_restarts", max_restarts)], []));
            program.stderr.wait_for("ready after");
            let warning =
                "max_restarts = 3 is less than workers = 4: the pool gives up before each worker has failed once";
            assert_eq!(program.stderr.count(warning), warnings, "{way:?} {max_restarts}");
            assert_eq!(program.stderr.count("set max_restarts to 40 or more, or set restart_window"), warnings);
            stop(program);
        }
    }
}

#[test]
fn unlimited_restarts_never_give_up() {
    for way in WAYS {
        let options = [("max_restarts", "unlimited"), ("backoff", "0s"), ("workers", "1")];
        let program = Session::start(&mut way.lives(options, ["before-restart=120", "exit=3"]));
        program.stderr.wait_for("restarting (120/unlimited)");
        nth_worker(&program, 0, 121);
        assert_eq!(program.stderr.count("running out"), 0);
        stop(program);
    }
}

/// The kernel drops a SIGCHLD that comes while another waits to be read, which names one child.
#[test]
fn workers_whose_ends_one_signal_announces_are_all_replaced() {
    let program = Session::start(fixture("sleeps").envs([("PREFORK_WORKERS", "16"), ("PREFORK_BACKOFF", "0s")]));
    let workers = program.wait_for_children(16);
    program.stderr.wait_for("ready after");
    program.signal(Signal::SIGSTOP);
    until("the supervisor is stopped", || (state_of(program.pid()) == Some('T')).then_some(()));
    for &worker in &workers {
        send(worker, Signal::SIGKILL);
        until("the worker has ended", || (state_of(worker) == Some('Z')).then_some(()));
    }
    program.signal(Signal::SIGCONT);
    wait_until_gone(&workers);
    assert_eq!(program.wait_for_children(16).iter().filter(|pid| workers.contains(pid)).count(), 0);
    program.stderr.wait_for("restarting (16/");
    assert_eq!(program.stderr.count("killed by SIGKILL"), 16, "{:#?}", program.stderr.all());
    stop(program);
}

#[test]
fn with_restart_always_a_worker_that_finishes_is_replaced_and_that_does_not_count() {
    for way in WAYS {
        let options = [("restart", "always"), ("max_restarts", "0"), ("backoff", "0s")];
        let program = Session::start(&mut way.lives(options, ["before-restart=5", "return=0"]));
        for task_id in 0..2 {
            nth_worker(&program, task_id, 6);
        }
        program.stderr.wait_for_nth(" (restart = \"always\"), starting again (not counted)", 10);
        assert_eq!(program.stderr.count("finished"), 0);
        stop(program);
    }
}

#[test]
fn with_restart_always_one_that_finishes_quickly_waits_for_its_backoff_and_the_supervisor_stays() {
    let options = [("restart", "always"), ("backoff", "1h")];
    for way in WAYS {
        let program = Session::start(&mut way.lives(options, ["return=0"]));
        program.stderr.wait_for_nth("starting again in 1h00m (not counted)", 2);
        // No worker is left, and a stop waits for none.
        assert_eq!(program.children(), [0; 0]);
        settle(&program);
        stop(program);
    }
}

#[test]
fn with_restart_on_failure_a_normal_exit_is_final() {
    for way in WAYS {
        let mut command = way.lives([("restart", "on-failure")], ["return=0"]);
        if way == Way::Environment {
            command.arg("--restart=always");
        }
        let mut program = Session::start(&mut command);
        assert_eq!(program.exit_code(), 0);
        assert_eq!(program.stdout.count("task "), 2);
        assert_eq!(last_line(&program), "prefork: all 2 workers have finished: exiting with status 0");
    }
}

#[test]
fn a_worker_that_was_ready_for_a_second_is_replaced_at_once_every_time() {
    const PROOF: Duration = Duration::from_secs(1);
    for way in WAYS {
        let mut command = way.lives([("ready_timeout", "1h"), ("backoff", "1h"), ("workers", "1")], ["ready"]);
        if way == Way::Environment {
            command.arg("--ready_timeout=2h");
        }
        let program = Session::start(&mut command);
        for nth in 1..=3 {
            let worker = nth_worker(&program, 0, nth);
            program.stdout.wait_for_nth("task 0 says that it is ready", nth);
            settle(&program);
            let heard = Instant::now();
            until("it has been ready for long enough", || (heard.elapsed() > PROOF).then_some(()));
            send(worker, Signal::SIGKILL);
            program.stderr.wait_for(&format!("restarting ({nth}/100)"));
        }
        nth_worker(&program, 0, 4);
        assert_eq!(program.stderr.count("restarting in"), 0, "{way:?}");
        stop(program);
    }
}

#[test]
fn exit_status_125_gives_up_at_once_and_stops_the_others_gracefully() {
    let status = prefork_rt::EXIT_GIVE_UP.to_string();
    assert_eq!(status, "125");
    for end in [format!("exit={status}"), format!("return={status}"), format!("hook:exit={status}")] {
        for max_restarts in ["100", "unlimited"] {
            // Worker 1 ends when worker 0 waits for its stop.
            let hook = if end.starts_with("hook:") { "hook:" } else { "" };
            let steps = ["worker=0", "drain", &format!("{hook}worker=1"), &format!("{hook}read"), &end];
            let (mut program, writer) = start(&mut Way::Builder.lives([("max_restarts", max_restarts)], steps));
            program.stdout.wait_for("task 0 waits for its stop");
            let_go_on(&writer, 1);
            let says = "status 125 says that trying again will not help";
            gives_up(&mut program, says, "worker 1 exited with status 125, which says that trying again will not help");
            assert_eq!(program.stderr.count("restarting"), 0);
            assert_eq!(program.stdout.count("task 0 returns"), 1);
            assert_eq!(program.stderr.count("had to be killed"), 0);
        }
    }
}

/// What a service says whose configuration has a typo.
const TYPO: &str = "err=app.toml, line 3: unknown key `prot`, did you mean `port`?";

#[test]
fn a_service_that_cannot_boot_says_so_within_moments() {
    for way in WAYS {
        let mut command = way.lives([("ready_timeout", "1h"), ("max_restarts", "unlimited")], [TYPO]);
        if way == Way::Environment {
            command.arg("--ready_timeout=2h");
        }
        let mut program = Session::start(&mut command);
        gives_up(&mut program, "cannot boot", "worker ");
        let last = last_line(&program);
        assert!(last.contains("twice in a row before it was ready") && last.contains("cannot boot"), "{last}");
        // Two workers, each of which was tried twice at most; and each said what is wrong.
        let tries = program.stdout.count("task ");
        assert!((2..=4).contains(&tries), "{tries}");
        // The standard library writes what `main` returns in pieces, which those of two workers may come between.
        let said = program.stderr.all().join("\n").matches("app.toml, line 3: unknown key `prot`").count();
        assert!(said >= 2, "{:#?}", program.stderr.all());
    }
}

#[test]
fn a_worker_that_fails_before_it_is_ready_is_a_restart_once_the_pool_was_ready() {
    // Worker 1 is ready at first, and in its later lives it is not.
    let steps = ["worker=0", "ready", "worker=1", "before-restart=1", "ready", "read", "exit=3", "worker=1", "exit=4"];
    let mut command = Way::Builder.lives([("ready_timeout", "1h"), ("max_restarts", "5")], steps);
    let (mut program, writer) = start(&mut command);
    program.stderr.wait_for("all 2 workers are ready after ");
    let_go_on(&writer, 1);
    gives_up(&mut program, "5 of 5 restarts are used", "worker 1 ended abnormally and all 5 restarts");
}

#[test]
fn without_ready_timeout_a_failure_to_boot_is_named_and_the_budget_decides() {
    let mut program = Session::start(&mut Way::Builder.lives([("max_restarts", "6"), ("backoff", "0s")], [TYPO]));
    gives_up(&mut program, "6 of 6 restarts are used", "worker ");
    // On a machine that is so slow that a worker lives for a second, nothing looks like that.
    let named = program.stderr.count("this looks like a failure to boot");
    let slow = program.stderr.all().iter().any(|line| line.contains(" after ") && !line.contains(" after 0."));
    assert!(named == 1 || named == 0 && slow, "{:#?}", program.stderr.all());
}

/// A refused fork counts too: see `fork_failure.rs`.
#[test]
fn what_counts_is_a_crash_not_to_be_ready_in_time_and_to_hang() {
    // At the same time, so that only worker 2 is late, however slow the machine is.
    let programs = WAYS.map(|way| {
        let options =
            [("workers", "4"), ("ready_timeout", "10s"), ("heartbeat_timeout", "200ms"), ("max_restarts", "50")];
        let steps = [
            &["worker=0", "before-restart=1", "ready", "exit=3"][..],
            &["worker=1", "before-restart=1", "ready", "raise=14"],
            &["worker=2", "before-restart=1", "wait"],
            &["worker=3", "before-restart=1", "ready", "beat", "wait"],
        ];
        let mut command = way.lives(options, []);
        if way == Way::Environment {
            command.arg("--ready_timeout=1h");
        }
        let last = (0..4).flat_map(|id| [format!("worker={id}"), "ready".to_owned()]);
        Session::start(command.args(steps.concat()).args(last))
    });
    for program in programs {
        let restarts = ["0", "1", "2", "3"].map(|id| {
            let name = format!("worker {id} (pid {}) ", nth_worker(&program, id.parse().expect("a number"), 1));
            let line = until("a restart", || {
                program.stderr.all().into_iter().find(|line| line.contains(&name) && line.contains("restarting"))
            });
            line.split_once(&name).expect("it is there").1.to_owned()
        });
        for (line, how) in restarts.iter().zip([
            "exited with status 3 after ",
            "killed by SIGALRM",
            "was not ready in time and was killed after ",
            "hung and was ended by SIG",
        ]) {
            assert!(line.starts_with(how), "{line}");
        }
        program.stderr.wait_for("restarting (4/50)");
        program.stderr.wait_for("all 4 workers are ready after ");
        stop(program);
    }
}

#[test]
fn what_does_not_count_is_to_finish_and_to_be_recycled_reloaded_scaled_down_or_told_to_end() {
    let steps =
        ["worker=0", "return=0", "worker=1", "before-restart=1", "handle", "recycle", "drain", "worker=1", "drain"];
    let mut command = Way::Builder.lives([("max_restarts", "0"), ("workers", "3")], steps);
    let program = Session::start(command.args(["worker=2", "drain", "worker=3", "drain"]));
    program.stderr.wait_for("finished with status 0");
    program.stderr.wait_for("recycling worker 1 ");
    nth_worker(&program, 1, 2);
    program.stdout.wait_for("task 1 returns");

    program.stdout.wait_for_nth("task 1 waits for its stop", 2);
    let told = nth_worker(&program, 2, 1);
    program.stdout.wait_for("task 2 waits for its stop");
    send(told, Signal::SIGTERM);
    program.stderr.wait_for(&format!("worker 2 (pid {told}) exited with status 0 after "));
    program.stderr.wait_for(", told to end by a SIGTERM that is not the supervisor's, starting again (not counted)");

    program.stdout.wait_for_nth("task 2 waits for its stop", 2);
    program.signal(Signal::SIGHUP);
    program.stderr.wait_for("reload done after ");
    program.stdout.wait_for_nth("task 2 waits for its stop", 3);

    program.signal(Signal::SIGTTIN);
    program.stdout.wait_for("task 3 waits for its stop");
    program.signal(Signal::SIGTTOU);
    program.stdout.wait_for("task 3 returns");
    settle(&program);
    assert_eq!(program.stderr.count("restarting"), 0);
    assert_eq!(program.stdout.count("task 0 pid "), 1);
    stop(program);
}

#[test]
fn a_kill_of_a_worker_without_a_handle_is_counted() {
    let program = Session::start(&mut lives([]));
    let told = nth_worker(&program, 0, 1);
    send(told, Signal::SIGTERM);
    let line = program.stderr.wait_for(&format!("worker 0 (pid {told}) killed by SIGTERM after "));
    assert!(line.ends_with(", restarting (1/100)"), "{line}");
    stop(program);
}

#[test]
fn giving_up_says_who_failed_how_often_of_what_and_when_last() {
    let steps = ["worker=0", "before-restart=1", "ready", "exit=3", "worker=0", "before-restart=2", "raise=14"];
    let mut command = Way::Builder.lives([("max_restarts", "3"), ("workers", "3")], steps);
    let mut program = Session::start(&mut command);
    program.stderr.wait_for("restarting (2/3)");
    send(nth_worker(&program, 2, 1), Signal::SIGKILL);
    program.stderr.wait_for("restarting (3/3)");
    send(nth_worker(&program, 0, 3), Signal::SIGKILL);
    gives_up(&mut program, "3 of 3 restarts are used", "worker 0 ended abnormally");
    let line = program.stderr.wait_for("worker 0 failed 3 times, last just now: ");
    for part in ["1 x exited with status 3", "1 x killed by SIGALRM", "1 x killed by SIGKILL"] {
        assert!(line.contains(part), "{line}");
    }
    let line = program.stderr.wait_for("worker 2 failed once, ");
    assert!(line.ends_with(" ago: killed by SIGKILL") || line.ends_with(" just now: killed by SIGKILL"), "{line}");
    assert_eq!(program.stderr.count("worker 1 failed"), 0, "it has no part in it: {:#?}", program.stderr.all());
}

#[test]
fn a_warning_comes_once_when_four_fifths_are_used() {
    let mut program = Session::start(&mut Way::Builder.lives([("max_restarts", "10")], ["worker=1", "exit=3"]));
    gives_up(&mut program, "10 of 10 restarts are used", "worker 1 ended abnormally");
    let lines = program.stderr.all();
    let warning =
        lines.iter().position(|line| line.contains("restarts are running out: 8/10 used")).expect("a warning");
    assert!(lines[..warning].iter().any(|line| line.contains("restarting (8/10)")), "{lines:#?}");
    assert!(lines[warning..].iter().any(|line| line.contains("restarting (9/10)")), "{lines:#?}");
    assert_eq!(program.stderr.count("running out"), 1, "{lines:#?}");
}

/// The kernel counts the processes that it has killed for want of memory wherever they were.
fn alone_with_the_kernels_counter() -> MutexGuard<'static, ()> {
    static COUNTER: Mutex<()> = Mutex::new(());
    COUNTER.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_sigkill_from_outside_is_named_as_that() {
    let _alone = alone_with_the_kernels_counter();
    let program = Session::start(&mut lives([]));
    let killed = nth_worker(&program, 1, 1);
    send(killed, Signal::SIGKILL);
    let line = program.stderr.wait_for(&format!("worker 1 (pid {killed}) killed by SIGKILL after "));
    assert!(line.ends_with("restarting (1/100); the SIGKILL came from outside"), "{line}");
    stop(program);
}

#[test]
fn a_sigkill_by_the_supervisor_is_blamed_on_no_other_process() {
    // One is not ready in time, and another does not end in time.
    let options = [("ready_timeout", "10s"), ("graceful_timeout", "300ms")];
    let steps = ["worker=0", "before-restart=1", "wait", "worker=0", "ignore", "ready", "worker=1", "ready"];
    let mut program = Session::start(&mut Way::Builder.lives(options, steps));
    program.stderr.wait_for("was not ready in time and was killed after ");
    program.stdout.wait_for("task 0 says that it is ready");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    // The other one, too, where it was too slow.
    program.stderr.wait_for(" had to be killed");
    for word in ["outside", "memory", "oom"] {
        assert_eq!(program.stderr.count(word), 0, "{:#?}", program.stderr.all());
    }
}

/// A control group with a limit of memory, of version 1.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn new(name: &str, mebibytes: usize) -> std::io::Result<MemoryGroup> {
        let name = format!("prefork-test-{}-{name}", std::process::id());
        MemoryGroup::at(Path::new("/sys/fs/cgroup/memory").join(name), mebibytes)
    }

    fn at(path: PathBuf, mebibytes: usize) -> std::io::Result<MemoryGroup> {
        fs::create_dir(&path)?;
        let group = MemoryGroup(path);
        fs::write(group.0.join("memory.limit_in_bytes"), (mebibytes << 20).to_string())?;
        // Where the kernel accounts for swap, the group gets none.
        let _ = fs::write(group.0.join("memory.memsw.limit_in_bytes"), (mebibytes << 20).to_string());
        Ok(group)
    }

    /// The command that runs another one in this group.
    fn run(&self, inner: &std::process::Command) -> std::process::Command {
        let mut command = clean_command("/bin/sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        command.args(words(inner));
        command
    }

    fn kills(&self) -> Option<u64> {
        let control = fs::read_to_string(self.0.join("memory.oom_control")).ok()?;
        control.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let start = Instant::now();
        while fs::remove_dir(&self.0).is_err() && start.elapsed() < Duration::from_secs(5) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_sigkill_for_want_of_memory_is_named_as_that() {
    let _alone = alone_with_the_kernels_counter();
    let group = match MemoryGroup::new("oom", 64) {
        Ok(group) => group,
        Err(error) => skip!("no memory cgroup of version 1 can be made here: {error}"),
    };
    let before = skip_unless!(group.kills(), "the kernel does not count its kills for each cgroup");
    let steps = ["worker=1", "before-restart=1", "eat=256"];
    let program = Session::start(&mut group.run(&lives(steps)));
    let line = program.stderr.wait_for("worker 1 (pid ");
    let because = format!("out-of-memory kill: the cgroup's oom_kill counter went from {before} to {};", before + 1);
    assert!(line.contains(" killed by SIGKILL after ") && line.contains(&because), "{line}");
    assert!(line.contains("restarting (1/100); probably an out-of-memory kill: "), "{line}");
    // What is killed by hand after that is not.
    send(nth_worker(&program, 1, 2), Signal::SIGKILL);
    program.stderr.wait_for("restarting (2/100); the SIGKILL came from outside");
    stop(program);
}

#[test]
fn a_container_that_sees_the_hosts_cgroups_does_not_read_the_counter_of_a_group_that_has_the_name_of_its_own() {
    let _alone = alone_with_the_kernels_counter();
    let groups = MemoryGroup::new("twin", 64).and_then(|twin| {
        let container = MemoryGroup::new("container", 256)?;
        let own = MemoryGroup::at(container.0.join(twin.0.file_name().expect("a name")), 64)?;
        Ok((twin, container, own))
    });
    // They are removed in the reverse order.
    let (_twin, container, own) = match groups {
        Ok(groups) => groups,
        Err(error) => skip!("no memory cgroup of version 1 can be made here: {error}"),
    };
    skip_unless!(own.kills(), "the kernel does not count its kills for each cgroup");
    let mut command = clean_command("unshare");
    command.arg("--cgroup").args(words(&own.run(&lives(["worker=1", "before-restart=1", "eat=256"]))));
    let mut probe = clean_command("unshare");
    skip_unless!(
        probe.args(["--cgroup", "true"]).status().ok().filter(|status| status.success()),
        "no cgroup namespace can be made here"
    );
    let program = Session::start(&mut container.run(&command));
    let line = program.stderr.wait_for("worker 1 (pid ");
    assert!(
        line.contains("restarting (1/100); probably an out-of-memory kill: the kernel's oom_kill counter"),
        "{line}"
    );
    stop(program);
}

#[test]
fn a_stop_during_a_backoff_is_immediate() {
    for way in WAYS {
        let program = Session::start(&mut way.lives([("backoff", "1h")], ["worker=1", "exit=3"]));
        program.stderr.wait_for("restarting in 1h00m");
        // It would be late for every deadline of a test.
        stop(program);
    }
}

#[test]
fn a_worker_that_hangs_when_the_pool_stops_is_killed_when_its_own_time_is_over() {
    let steps = ["worker=0", "ignore", "beat", "wait"];
    // On a machine where the stop comes later than those 5 s, once more.
    until("the stop is in time", || {
        let mut program = Session::start(&mut Way::Builder.lives([("heartbeat_timeout", "100ms")], steps));
        let hung = nth_worker(&program, 0, 1);
        program.stderr.wait_for("it hangs; SIGABRT now, SIGKILL in 5s");
        program.signal(Signal::SIGTERM);
        assert_eq!(program.exit_code(), 0);
        let lines = program.stderr.all();
        let stops = lines.iter().position(|line| line.contains("stopping ")).expect("a stop");
        let kills = format!("killing worker 0 (pid {hung}), which did not end within 5s");
        let kills = lines.iter().position(|line| line.contains(&kills)).unwrap_or_else(|| panic!("{lines:#?}"));
        (stops < kills).then(|| program.stderr.wait_for("1 had to be killed"))
    });
}
