//! Hang detection: a worker whose heartbeats stop is replaced, and no other worker is.
//!
//! Where no other worker may be accused, the timeout is longer than a loaded machine keeps a worker from running.

mod support;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use support::lives::{lives, nth_worker};
use support::session::Session;
use support::terminal::{CTRL_C, Terminal};
use support::wear::{in_each_way, start};
use support::{SetAtEnd, Signal, children_of, fixture, line, send, state_of, until, wait_until_gone};

/// The lines of a hang that a healthy worker must not be accused of.
fn accusations(program: &Session) -> usize {
    program.stderr.count("has sent no heartbeat") + program.stderr.count("restarting")
}

/// The worker of this task id, by its first line.
fn first_pid(program: &Session, task_id: usize) -> i32 {
    pid_in(&program.stdout.wait_for(&format!("worker {task_id} begins, pid ")))
}

fn pid_in(line: &str) -> i32 {
    line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a line that ends with a pid")
}

/// The time that a line says after these words, where it is less than a minute.
fn seconds_after(line: &str, words: &str) -> f64 {
    let (_, after) = line.split_once(words).unwrap_or_else(|| panic!("{words:?} in {line:?}"));
    after.split_once('s').and_then(|(number, _)| number.parse().ok()).unwrap_or_else(|| panic!("seconds in {line:?}"))
}

#[test]
fn a_worker_that_sent_heartbeats_and_hangs_is_replaced_and_counted() {
    for (way, mut program) in in_each_way("hangs", &["heartbeat_timeout=6s", "interval=50"]) {
        let pid = first_pid(&program, 0);
        let line = program.stderr.wait_for("has sent no heartbeat");
        assert!(line.contains(&format!("worker 0 (pid {pid}) has sent no heartbeat for ")), "{way:?}: {line}");
        assert!(line.contains("SIGABRT now, SIGKILL in 5s"), "{way:?}: {line}");
        let line = program.stderr.wait_for("restarting");
        assert!(line.contains("hung and was ended by SIGABRT") && line.contains("(1/100)"), "{way:?}: {line}");
        program.stdout.wait_for_nth("worker 0 begins", 2);
        program.stdout.wait_for("worker 0 has beaten");
        assert_eq!(accusations(&program), 2, "{way:?}: {:#?}", program.stderr.all());
        program.signal(Signal::SIGTERM);
        assert_eq!(program.exit_code(), 0);
    }
}

#[test]
fn silence_is_measured_from_the_last_heartbeat() {
    // The worker's first heartbeat comes later than this.
    let before = Instant::now();
    let program = start("hangs", &["heartbeat_timeout=3s", "interval=50"]);
    let line = program.stderr.wait_for("has sent no heartbeat");
    assert!(before.elapsed() >= Duration::from_secs(3), "{:?}", before.elapsed());
    assert!(seconds_after(&line, "has sent no heartbeat for ") >= 3.0, "{line}");
}

#[test]
fn a_worker_that_hangs_may_leave_a_trace() {
    let program = start("hangs-and-leaves-a-trace", &["heartbeat_timeout=1s", "interval=50"]);
    program.stdout.wait_for("a trace of what it was doing");
    program.stderr.wait_for("hung and was ended by SIGABRT");
    program.stdout.wait_for_nth("worker 0 begins", 2);
}

#[test]
fn a_worker_that_ignores_sigabrt_is_killed() {
    let program = start("hangs-and-ignores-abort", &["heartbeat_timeout=1s", "interval=50", "workers=1"]);
    let silence = seconds_after(&program.stderr.wait_for("has sent no heartbeat"), "has sent no heartbeat for ");
    let line = program.stderr.wait_for("killing worker 0");
    assert!(line.contains("did not end within 5s"), "{line}");
    let line = program.stderr.wait_for("restarting");
    assert!(line.contains("hung and was ended by SIGKILL") && line.contains("(1/100)"), "{line}");
    // It began to live before it was silent. Both numbers are rounded.
    assert!(seconds_after(&line, "SIGKILL after ") > silence + 4.8, "{silence} s, {line}");
    program.stdout.wait_for_nth("worker 0 begins", 2);
}

#[test]
fn a_worker_that_is_stopped_hangs() {
    let program = start("beats", &["heartbeat_timeout=6s", "interval=50"]);
    let pid = first_pid(&program, 1);
    program.stdout.wait_for("worker 1 has beaten");
    send(pid, Signal::SIGSTOP);
    let line = program.stderr.wait_for(&format!("prefork: worker 1 (pid {pid}) hung and was ended by SIG"));
    assert!(line.contains("restarting"), "{line}");
    wait_until_gone(&[pid]);
    program.stdout.wait_for_nth("worker 1 begins", 2);
}

/// Stops a process as a debugger does, until [`let_go`].
fn debug(pid: i32) {
    // SAFETY: ptrace(2) with these requests takes no memory; a process that cannot be had is an error.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) };
    assert_eq!(seized, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: as before.
    let interrupted = unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0) };
    assert_eq!(interrupted, 0, "{}", std::io::Error::last_os_error());
    until("it is stopped", || (state_of(pid) == Some('t')).then_some(()));
}

fn let_go(pid: i32) {
    // SAFETY: ptrace(2) with this request takes no memory.
    let detached = unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) };
    assert_eq!(detached, 0, "{}", std::io::Error::last_os_error());
}

/// As any process of the session may send it, and so may every worker that has not been given another user.
fn send_sigcont_on_and_on<T>(program: &Session, until: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetAtEnd(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                program.signal(Signal::SIGCONT);
                sleep(Duration::from_millis(50));
            }
        });
        until()
    })
}

#[test]
fn a_worker_that_hangs_is_found_under_a_stream_of_sigcont() {
    let program = start("hangs", &["heartbeat_timeout=2s", "interval=50", "workers=1"]);
    program.stdout.wait_for("worker 0 begins");
    let line = send_sigcont_on_and_on(&program, || program.stderr.wait_for("has sent no heartbeat"));
    assert!(line.contains("worker 0"), "{line}");
    // On a machine that has little time for it.
    assert!(seconds_after(&line, "has sent no heartbeat for ") < 20.0, "{line}");
}

#[test]
fn a_worker_that_never_is_ready_is_found_under_a_stream_of_sigcont() {
    let mut command = lives(["--workers=1", "--ready_timeout=2s", "before-restart=1", "wait", "ready", "wait"]);
    let program = Session::start(&mut command);
    send_sigcont_on_and_on(&program, || program.stderr.wait_for("is not ready after 2s"));
}

#[test]
fn a_worker_that_a_debugger_holds_has_all_of_ready_timeout_afterwards() {
    let mut command = lives(["--workers=1", "--ready_timeout=10s", "read", "ready", "wait"]);
    let (program, writer) = support::lives::start(&mut command);
    let pid = nth_worker(&program, 0, 1);
    debug(pid);
    program.stderr.wait_for("is held by a debugger or tracer");
    support::lives::let_go_on(&writer, 1);
    let_go(pid);
    program.stderr.wait_for("ready after");
    assert_eq!(program.stderr.count("killing"), 0, "{:#?}", program.stderr.all());
}

#[test]
fn a_process_that_a_worker_forked_sends_no_heartbeat_for_it() {
    let steps = ["worker=0", "before-restart=1", "beat", "child", "wait", "worker=1", "child", "wait"];
    let mut command = lives(["--heartbeat_timeout=6s"]);
    let program = Session::start(command.args(steps));
    program.stdout.wait_for("a child of task 0 says everything");
    program.stdout.wait_for("a child of task 1 says everything");
    let line = program.stderr.wait_for("has sent no heartbeat");
    assert!(line.contains("worker 0 (pid "), "{line}");
    program.stderr.wait_for("hung and was ended by SIGABRT");
    nth_worker(&program, 0, 2);
    assert_eq!(accusations(&program), 2, "the other one never sent a heartbeat: {:#?}", program.stderr.all());
}

#[test]
fn a_worker_that_never_sends_a_heartbeat_is_left_alone() {
    let program = start("waits", &["heartbeat_timeout=200ms"]);
    let workers = [first_pid(&program, 0), first_pid(&program, 1)];
    // There is nothing to wait for: this is the span in which nothing is to happen.
    sleep(Duration::from_secs(2));
    assert_eq!(accusations(&program), 0, "{:#?}", program.stderr.all());
    assert!(workers.into_iter().all(support::is_alive));
}

/// These mostly wait: all at once.
#[test]
fn a_healthy_worker_is_never_killed() {
    let cases = [
        a_worker_that_goes_on_sending_heartbeats_is_never_killed,
        one_heartbeat_in_most_of_the_timeout_is_enough,
        a_supervisor_that_was_stopped_kills_no_worker,
        a_pool_that_was_stopped_and_continued_kills_no_worker,
        a_pool_that_was_stopped_for_most_of_the_timeout_kills_no_worker,
        a_pool_that_was_suspended_kills_no_worker,
        a_worker_that_a_debugger_holds_does_not_hang,
    ];
    thread::scope(|scope| cases.iter().for_each(|case| drop(scope.spawn(case))));
}

fn a_worker_that_goes_on_sending_heartbeats_is_never_killed() {
    let bodies = ["beats", "beats-in-a-thread"];
    for (body, program) in bodies.map(|body| (body, start(body, &["heartbeat_timeout=6s", "interval=50"]))) {
        // 10 s and more.
        program.stdout.wait_for("worker 0 has beaten 200 times");
        assert_eq!(accusations(&program), 0, "{body}: {:#?}", program.stderr.all());
    }
}

fn a_worker_that_a_debugger_holds_does_not_hang() {
    let program = start("beats", &["heartbeat_timeout=6s", "interval=50"]);
    let pid = first_pid(&program, 1);
    wait_for_more_beats(&program, 1);
    debug(pid);
    let line = program.stderr.wait_for("is held by a debugger or tracer");
    let (worker, debugger) = (format!("worker 1 (pid {pid})"), format!("pid {} (", std::process::id()));
    assert!(line.contains(&worker) && line.contains(&debugger), "{line}");
    // For two timeouts more.
    program.stdout.wait_for_nth("worker 0 has beaten", beats(&program, 0) + 26);
    assert_eq!(accusations(&program), 0, "{:#?}", program.stderr.all());
    let_go(pid);
    // For longer than the timeout.
    wait_for_more_beats(&program, 14);
    assert_eq!(accusations(&program), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stderr.count("is held by"), 1, "{:#?}", program.stderr.all());
    assert!(support::is_alive(pid));
}

fn one_heartbeat_in_most_of_the_timeout_is_enough() {
    let program = start("beats", &["heartbeat_timeout=15s", "interval=9500"]);
    program.stdout.wait_for("worker 0 has beaten 3 times");
    assert_eq!(accusations(&program), 0, "{:#?}", program.stderr.all());
}

/// Programs that do nothing but work.
struct Load(Vec<Child>);

impl Load {
    fn new(programs: usize) -> Load {
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell");
        Load((0..programs).map(|_| spin()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_busy_machine_kills_no_healthy_worker() {
    let _load = Load::new(4);
    let program = start("beats", &["workers=8", "heartbeat_timeout=6s", "interval=100"]);
    for task_id in 0..8 {
        program.stdout.wait_for(&format!("worker {task_id} has beaten 80 times"));
    }
    assert_eq!(accusations(&program), 0, "{:#?}", program.stderr.all());
}

/// How often a worker has beaten by now.
fn beats(program: &Session, task_id: usize) -> usize {
    program.stdout.count(&format!("worker {task_id} has beaten"))
}

fn wait_for_more_beats(program: &Session, more: usize) {
    let before = [beats(program, 0), beats(program, 1)];
    for task_id in [0, 1] {
        program.stdout.wait_for_nth(&format!("worker {task_id} has beaten"), before[task_id] + more);
    }
}

const LONGER_THAN_THE_TIMEOUT: Duration = Duration::from_secs(8);

fn a_supervisor_that_was_stopped_kills_no_worker() {
    let program = start("beats", &["heartbeat_timeout=6s", "interval=100"]);
    wait_for_more_beats(&program, 5);
    program.signal(Signal::SIGSTOP);
    sleep(LONGER_THAN_THE_TIMEOUT);
    program.signal(Signal::SIGCONT);
    // For longer than the timeout.
    wait_for_more_beats(&program, 70);
    assert_eq!(accusations(&program), 0, "{:#?}", program.stderr.all());
}

fn a_pool_that_was_stopped_and_continued_kills_no_worker() {
    // The supervisor is the first to go on, or the last.
    let programs = [true, false].map(|first| (first, start("beats", &["heartbeat_timeout=6s", "interval=100"])));
    let all = programs.each_ref().map(|(first, program)| {
        let workers = [first_pid(program, 0), first_pid(program, 1)];
        wait_for_more_beats(program, 5);
        let supervisor = [program.pid()];
        if *first { [&supervisor[..], &workers].concat() } else { [&workers[..], &supervisor].concat() }
    });
    all.iter().flatten().for_each(|&pid| send(pid, Signal::SIGSTOP));
    sleep(LONGER_THAN_THE_TIMEOUT);
    all.iter().flatten().for_each(|&pid| send(pid, Signal::SIGCONT));
    for (_, program) in &programs {
        wait_for_more_beats(program, 70);
        assert_eq!(accusations(program), 0, "{:#?}", program.stderr.all());
    }
}

/// It is for the supervisor to notice: SIGCONT alone would not tell it. The worker goes on in the middle of its work.
fn a_pool_that_was_stopped_for_most_of_the_timeout_kills_no_worker() {
    let program = start("beats-after-many-naps", &["heartbeat_timeout=10s", "interval=4000"]);
    let all = [program.pid(), first_pid(&program, 0), first_pid(&program, 1)];
    for nth in 1..=2 {
        program.stdout.wait_for_nth("worker 0 has beaten", 2 * nth);
        all.iter().for_each(|&pid| send(pid, Signal::SIGSTOP));
        sleep(Duration::from_secs(9));
        all.iter().for_each(|&pid| send(pid, Signal::SIGCONT));
    }
    program.stdout.wait_for_nth("worker 0 has beaten", 6);
    assert_eq!(accusations(&program), 0, "{:#?}", program.stderr.all());
}

/// The time that a worker was stopped is not held against it, although it goes on in the middle of its work and has
/// half of the timeout's worth of that still to do.
fn a_pool_that_was_suspended_kills_no_worker() {
    let mut terminal = Terminal::shell();
    let program = line(&fixture("wears-out-by-builder"));
    terminal.type_in(&format!("{program} beats-after-many-naps --heartbeat_timeout=12s --interval=6000\n"));
    terminal.screen.wait_for("worker 1 has beaten");
    let supervisor = terminal.job();
    let workers = until("two workers", || Some(children_of(supervisor)).filter(|workers| workers.len() == 2));
    for _ in 0..2 {
        terminal.screen.wait_for_nth("worker 0 has beaten", terminal.screen.count("worker 0 has beaten") + 1);
        send(supervisor, Signal::SIGTSTP);
        until("all are stopped", || {
            workers.iter().chain([&supervisor]).all(|&pid| state_of(pid) == Some('T')).then_some(())
        });
        sleep(Duration::from_secs(8));
        terminal.type_in("fg\n");
        until("all run", || workers.iter().chain([&supervisor]).all(|&pid| state_of(pid) != Some('T')).then_some(()));
    }
    terminal.screen.wait_for_nth("worker 0 has beaten", terminal.screen.count("worker 0 has beaten") + 2);
    assert_eq!(terminal.screen.count("has sent no heartbeat"), 0, "{:#?}", terminal.screen.all());
    terminal.type_in(CTRL_C);
    terminal.screen.wait_for("exiting with status 0");
}

#[test]
fn without_the_option_or_without_supervision_a_beat_does_no_harm() {
    let program = start("hangs", &["interval=10"]);
    program.stdout.wait_for("worker 1 has beaten 200 times");
    assert_eq!(accusations(&program), 0, "{:#?}", program.stderr.all());

    let mut command = fixture("wears-out-by-builder");
    let program =
        Session::start(command.args(["beats", "--heartbeat_timeout=100ms", "--interval=10"]).env("PREFORK", "off"));
    program.stdout.wait_for("worker 0 has beaten 100 times");
    assert_eq!(program.children(), [0; 0]);
}

#[test]
fn a_hang_during_a_stop_is_the_stops_affair() {
    // On a machine where the stop comes later than SIGKILL does, once more.
    until("the stop is in time", || {
        let options = ["heartbeat_timeout=1s", "interval=50", "max_restarts=0", "workers=1"];
        let mut program = start("hangs-and-ignores-abort", &options);
        program.stderr.wait_for("has sent no heartbeat");
        program.signal(Signal::SIGTERM);
        let code = program.exit_code();
        let lines = program.stderr.all();
        let first = lines.iter().find(|line| line.contains("stopping ") || line.contains("killing worker 0"));
        let in_time = first.expect("a stop").contains("stopping ");
        // It does not count, or the supervisor would have given up.
        in_time.then(|| assert_eq!(code, 0, "{lines:#?}"))
    });
}
