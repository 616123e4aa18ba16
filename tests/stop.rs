//! How a pool is stopped: gracefully, at once, and whatever its workers do about it.

mod support;
use std::fs;
use std::io;
use std::path::PathBuf;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use support::lives::{WAYS, nth_worker};
use support::pid_1::as_pid_1;
use support::pool::Pool;
use support::session::Session;
use support::{Program, Signal, clean_command, fixture, is_alive, send, state_of, until, wait_until_gone, words};

#[test]
fn a_stop_is_graceful_and_complete_and_the_last_line_says_why() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut program = Session::start(&mut fixture("sleeps"));
        let workers = program.wait_for_children(3);
        program.signal(signal);
        assert_eq!(program.exit_code(), 0);
        wait_until_gone(&workers);
        program.wait_until_empty();
        let from = format!("{signal} from pid {}", std::process::id());
        program.stderr.wait_for(&format!("{from}: stopping 3 workers, at most 25s"));
        assert_eq!(program.stderr.count("killed by SIGTERM after"), 3);
        let last = program.stderr.all().pop().expect("lines");
        assert_eq!(last, format!("prefork: stopped by {from}: exiting with status 0"));
    }
}

#[test]
fn a_worker_that_ignores_the_stop_is_killed_after_graceful_timeout() {
    for way in WAYS {
        let steps = ["ignore", "ready"];
        let mut program = Session::start(&mut way.lives([("graceful_timeout", "300ms")], steps));
        program.stdout.wait_for_nth("says that it is ready", 2);
        program.signal(Signal::SIGTERM);
        assert_eq!(program.exit_code(), 0, "{way:?}");
        program.wait_until_empty();
        program.stderr.wait_for("killing 2 workers that did not end within 300ms (graceful_timeout)");
        assert_eq!(program.stderr.count("killed by SIGKILL"), 2);
        let last = program.stderr.all().pop().expect("lines");
        assert!(last.ends_with("; 2 had to be killed: exiting with status 0"), "{last}");
    }
}

#[test]
fn sigint_during_a_stop_is_immediate() {
    for first in [Signal::SIGTERM, Signal::SIGINT] {
        let mut program = Session::start(fixture("ignores-term").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
        program.stdout.wait_for_nth("blocks all signals", 2);
        program.signal(first);
        program.stderr.wait_for("stopping 2 workers");
        program.signal(Signal::SIGINT);
        assert_eq!(program.exit_code(), 0);
        program.stderr.wait_for(&format!("SIGINT from pid {}: killing 2 workers", std::process::id()));
        program.stderr.wait_for("; 2 had to be killed");
    }
}

/// The sender has the number 0 there, as has the leader of the process group that PID 1 came from.
#[test]
fn sigint_during_a_stop_is_immediate_from_outside_the_container_too() {
    let command = as_pid_1(&fixture("ignores-term"));
    let mut command = skip_unless!(command, "unshare(1) may not make a PID namespace");
    let mut program = Program::start(command.env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
    program.stdout.wait_for_nth("blocks all signals", 2);
    let supervisor = program.wait_for_children(1)[0];
    send(supervisor, Signal::SIGINT);
    program.stderr.wait_for("SIGINT from outside this container: stopping 2 workers");
    send(supervisor, Signal::SIGINT);
    program.stderr.wait_for("SIGINT from outside this container: killing 2 workers");
    assert_eq!(program.exit_code(), 0);
}

/// As process managers do.
#[test]
fn sigterm_repeated_lets_every_worker_drain() {
    for first in [Signal::SIGTERM, Signal::SIGINT] {
        let mut pool = Pool::start_with(fixture("reloads"), &[("stop", "wait")]);
        pool.wait_until_ready();
        pool.signal(first);
        pool.stdout.wait_for_nth("is told to stop", 3);
        for nth in 1..=3 {
            pool.signal(Signal::SIGTERM);
            // An answer, after which the workers would have been killed.
            pool.signal(Signal::SIGTTIN);
            pool.stderr.wait_for_nth("SIGTTIN from pid", nth);
        }
        let by = std::process::id();
        pool.stderr.wait_for(&format!("SIGTERM from pid {by}: already stopping; SIGINT or SIGQUIT kills at once"));
        pool.tell("drained", "");
        assert_eq!(pool.exit_code(), 0);
        assert_eq!(pool.stdout.count("returns"), 3, "{:#?}", pool.stdout.all());
        assert_eq!(pool.stderr.count("kills at once"), 1, "{:#?}", pool.stderr.all());
        assert_eq!(pool.stderr.count("killing") + pool.stderr.count("had to be killed"), 0, "{:#?}", pool.stderr.all());
    }
}

#[test]
fn sigquit_is_an_immediate_stop() {
    let mut program = Session::start(fixture("ignores-term").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
    program.stdout.wait_for_nth("blocks all signals", 2);
    program.signal(Signal::SIGQUIT);
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
    program.stderr.wait_for("SIGQUIT");
    program.stderr.wait_for("; 2 had to be killed: exiting with status 0");
}

#[test]
fn sigquit_makes_a_graceful_stop_immediate() {
    let mut program = Session::start(fixture("ignores-term").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
    program.stdout.wait_for_nth("blocks all signals", 2);
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping 2 workers");
    program.signal(Signal::SIGQUIT);
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn a_stopped_worker_ends_with_the_others() {
    let mut program = Session::start(fixture("sleeps").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
    let workers = program.wait_for_children(3);
    send(workers[1], Signal::SIGSTOP);
    until("the worker is stopped", || (state_of(workers[1]) == Some('T')).then_some(()));
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stderr.count("had to be killed"), 0);
}

#[test]
fn a_stopped_worker_that_ignores_the_stop_is_killed() {
    let mut program = Session::start(fixture("ignores-term").env("PREFORK_GRACEFUL_TIMEOUT", "300ms"));
    program.stdout.wait_for_nth("blocks all signals", 2);
    let workers = program.children();
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping 2 workers");
    for worker in workers {
        // Where the machine is slow, it was killed before.
        let _ = kill(Pid::from_raw(worker), Signal::SIGSTOP);
    }
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

#[test]
fn what_a_worker_started_is_killed_with_it() {
    let mut program = Session::start(fixture("has-a-child").env("PREFORK_GRACEFUL_TIMEOUT", "300ms"));
    let line = program.stdout.wait_for("child ");
    let child: i32 = line["child ".len()..].parse().expect("a process id");
    assert!(is_alive(child));
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    wait_until_gone(&[child]);
    program.wait_until_empty();
}

#[test]
fn a_stop_does_not_wait_for_a_backoff() {
    let mut program = Session::start(fixture("dies-young").env("PREFORK_BACKOFF", "1h"));
    program.stderr.wait_for_nth("restarting in 1h00m", 2);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    let last = program.stderr.all().pop().expect("lines");
    assert!(last.starts_with("prefork: stopped by SIGTERM from pid"), "{last}");
}

#[test]
fn the_second_signal_that_timeout_sends_is_the_same_stop() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut command = clean_command("timeout");
        let mut program = Session::start(command.arg("1h").args(words(&fixture("sleeps"))));
        program.stdout.wait_for_nth("task", 3);
        // It passes a signal on as it sends its own: to the program, and then to its group.
        program.signal(signal);
        program.wait();
        program.stderr.wait_for("exiting with status 0");
        assert_eq!(program.stderr.count("killing"), 0, "{:#?}", program.stderr.all());
        assert_eq!(program.stderr.count("already stopping"), 0, "{:#?}", program.stderr.all());
    }
}

#[test]
fn sigterm_to_one_worker_is_its_abnormal_end_and_no_stop() {
    let mut program = Session::start(&mut fixture("sleeps"));
    let workers = [0, 1, 2].map(|task_id| nth_worker(&program, task_id, 1));
    send(workers[0], Signal::SIGTERM);
    program.stderr.wait_for(&format!("worker 0 (pid {}) killed by SIGTERM after", workers[0]));
    program.stderr.wait_for("restarting (1/100)");
    let now = until("three workers again", || Some(program.children()).filter(|now| now.len() == 3));
    assert!(now.contains(&workers[1]) && now.contains(&workers[2]), "{workers:?} became {now:?}");
    assert_eq!(program.stderr.count("stopping"), 0);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn sigterm_to_all_processes_at_once_restarts_no_worker() {
    for _ in 0..20 {
        let mut program = Session::start(&mut fixture("sleeps"));
        let workers = program.wait_for_children(3);
        program.signal(Signal::SIGTERM);
        for &worker in &workers {
            // It may have ended by now, as the supervisor told it to.
            let _ = kill(Pid::from_raw(worker), Signal::SIGTERM);
        }
        assert_eq!(program.exit_code(), 0);
        assert_eq!(program.stderr.count("restart"), 0, "{:#?}", program.stderr.all());
    }
}

#[test]
fn sigterm_to_all_processes_workers_first_restarts_no_worker() {
    let mut program = Session::start(&mut fixture("sleeps"));
    let workers = program.wait_for_children(3);
    // So that it learns of everything at once.
    program.signal(Signal::SIGSTOP);
    until("the supervisor is stopped", || (state_of(program.pid()) == Some('T')).then_some(()));
    for &worker in &workers {
        send(worker, Signal::SIGTERM);
    }
    wait_until_gone(&workers);
    program.signal(Signal::SIGTERM);
    program.signal(Signal::SIGCONT);
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stderr.count("restart"), 0, "{:#?}", program.stderr.all());
}

#[test]
fn the_supervisor_closes_its_listeners_when_a_stop_begins() {
    let mut command = fixture("ignores-term");
    let mut program = Session::start(command.env("PREFORK_LISTEN", "127.0.0.1:0"));
    program.stdout.wait_for_nth("blocks all signals", 2);
    let sockets = || {
        let open = fs::read_dir(format!("/proc/{}/fd", program.pid())).expect("/proc");
        let targets = open.filter_map(|entry| fs::read_link(entry.expect("/proc").path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    // The test's own sockets may be among what the supervisor inherited.
    let before = sockets();
    program.signal(Signal::SIGTERM);
    program.stderr.wait_for("stopping 2 workers");
    until("the listener is closed", || (sockets() + 1 == before).then_some(()));
    program.signal(Signal::SIGQUIT);
    assert_eq!(program.exit_code(), 0);
}

/// A process of a frozen control group does not die of SIGKILL before it is thawed, in version 1 of control groups.
struct Freezer(PathBuf);

impl Freezer {
    fn freeze(pid: i32) -> io::Result<Freezer> {
        let freezer = Freezer(format!("/sys/fs/cgroup/freezer/prefork-test-{pid}").into());
        fs::create_dir(&freezer.0)?;
        fs::write(freezer.0.join("cgroup.procs"), pid.to_string())?;
        fs::write(freezer.0.join("freezer.state"), "FROZEN")?;
        until("it is frozen", || {
            (fs::read_to_string(freezer.0.join("freezer.state")).ok()? == "FROZEN\n").then_some(())
        });
        Ok(freezer)
    }

    fn thaw(&self) {
        fs::write(self.0.join("freezer.state"), "THAWED").expect("a control group");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        // It is empty unless the test failed.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_process_that_survives_sigkill_is_named_and_left_behind() {
    let mut program = Session::start(&mut fixture("sleeps"));
    let workers = program.wait_for_children(3);
    let freezer = match Freezer::freeze(workers[1]) {
        Ok(freezer) => freezer,
        Err(error) => skip!("no process can be frozen here (freezer of cgroup v1): {error}"),
    };
    program.signal(Signal::SIGQUIT);
    let line = program.stderr.wait_for("did not die of SIGKILL within 5 s");
    // On a machine that is very slow, others are with it.
    let (_, left) = line.split_once("left behind: ").expect("who");
    let left = left.split(';').next().expect("who");
    assert!(left.split(", ").any(|pid| pid == workers[1].to_string()), "{line}");
    freezer.thaw();
    assert_eq!(program.exit_code(), 1);
    program.wait_until_empty();
    until("the control group is empty", || fs::remove_dir(&freezer.0).is_ok().then_some(()));
}
