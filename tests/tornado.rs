//! What Tornado's `fork_processes` promises, one test each.

mod support;
use support::{Program, Signal, fixture, is_alive, send, until, words};

use std::process::Command;

/// The process ids that workers have printed, by task id, once all have.
fn pids(program: &Program, workers: usize) -> Vec<i32> {
    let line = |task_id| program.stdout.wait_for(&format!("task {task_id} pid "));
    (0..workers).map(|task_id| pid_in(&line(task_id))).collect()
}

/// What stands after "pid " in a line.
fn pid_in(line: &str) -> i32 {
    let (_, after) = line.split_once("pid ").expect("a pid");
    let digits = after.split(|c: char| !c.is_ascii_digit()).next();
    digits.expect("a number").parse().expect("a number")
}

#[test]
fn ids_are_0_to_n_and_a_normal_exit_is_final() {
    let mut program = Program::start(&mut fixture("reports-task-id"));
    assert_eq!(program.exit_code(), 0);
    let mut lines = program.stdout.all();
    lines.sort();
    assert_eq!(lines, ["task 0 of 3", "task 1 of 3", "task 2 of 3"]);
    assert_eq!(program.stderr.count("finished with status 0 after "), 3);
}

#[test]
fn a_finished_workers_line_says_how_many_are_left() {
    let mut program = Program::start(&mut fixture("reports-task-id"));
    program.wait();
    for left in 0..3 {
        program.stderr.wait_for(&format!(", {left} left"));
    }
}

#[test]
fn a_pool_whose_workers_have_all_finished_exits_with_0_and_says_so_in_its_last_line() {
    let mut program = Program::start(&mut fixture("reports-task-id"));
    assert_eq!(program.exit_code(), 0);
    let lines = program.stderr.all();
    assert_eq!(lines.last().expect("a line"), "prefork: all 3 workers have finished: exiting with status 0");
}

#[test]
fn the_first_line_says_how_many_workers_and_why() {
    for (case, variable, line) in [
        ("workers 3_usize", None, "prefork: starting 3 workers: workers = 3".to_owned()),
        ("workers 3_usize", Some("2"), "prefork: starting 2 workers: PREFORK_WORKERS=2".to_owned()),
        ("workers 3_usize", Some("1"), "prefork: starting 1 worker: PREFORK_WORKERS=1".to_owned()),
        ("nothing", None, format!("{}: ", starting(prefork_rt::cpu_count()))),
    ] {
        let mut command = fixture("takes-any-value");
        command.args([case, "finish"]).envs(variable.map(|value| ("PREFORK_WORKERS", value)));
        let mut program = Program::start(&mut command);
        assert_eq!(program.exit_code(), 0);
        let first = program.stderr.all().swap_remove(0);
        assert!(first.starts_with(&line), "{first}");
    }
}

#[test]
fn zero_or_absent_or_auto_means_one_worker_per_usable_cpu() {
    let count = prefork_rt::cpu_count();
    for case in ["nothing", "workers 0", "workers auto"] {
        let mut program = Program::start(fixture("takes-any-value").args([case, "finish"]));
        assert_eq!(program.exit_code(), 0);
        assert_eq!(program.stdout.count("task "), count, "{case}");
        program.stderr.wait_for(&starting(count));
    }
    let mut program = Program::start(fixture("uses-fork-processes").args(["0", "0", "finish"]));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.count("task "), count);
}

#[test]
fn cpus_outside_the_affinity_are_not_counted() {
    if Command::new("taskset").arg("--version").output().is_err() {
        return eprintln!("skipped: there is no taskset here");
    }
    let first_cpu = support::status_of(i32::try_from(std::process::id()).expect("a pid"), "Cpus_allowed_list");
    let first_cpu = first_cpu.split(['-', ',']).next().expect("a CPU");
    let mut command = support::clean_command("taskset");
    command.args(["-c", first_cpu]).args(words(&fixture("takes-any-value"))).args(["nothing", "finish"]);
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    let lines = program.stderr.all();
    // On a machine that has one CPU there is nothing to say about affinity.
    let why = if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) { "CPU affinity" } else { "" };
    assert!(lines[0].starts_with("prefork: starting 1 worker: ") && lines[0].contains(why), "{}", lines[0]);
}

fn starting(workers: usize) -> String {
    format!("prefork: starting {workers} worker{}", if workers == 1 { "" } else { "s" })
}

#[test]
fn a_worker_that_exits_with_another_status_is_replaced_under_its_id() {
    is_replaced(["exit", "3"], "exited with status 3");
    is_replaced(["exit", "255"], "exited with status 255");
}

#[test]
fn a_worker_that_a_signal_kills_is_replaced_under_its_id() {
    is_replaced(["raise", "9"], "killed by SIGKILL");
    is_replaced(["raise", "15"], "killed by SIGTERM");
    is_replaced(["raise", "14"], "killed by SIGALRM");
    is_replaced(["raise", "6"], "killed by SIGABRT");
}

#[test]
fn a_worker_that_a_real_time_signal_kills_is_replaced_under_its_id() {
    is_replaced(["raise-real-time", "0"], "killed by SIGRTMIN");
    // How many there are depends on the C library.
    for nth in [3, libc::SIGRTMAX() - libc::SIGRTMIN()] {
        is_replaced(["raise-real-time", &nth.to_string()], &format!("killed by SIGRTMIN+{nth}"));
    }
}

fn is_replaced(end: [&str; 2], how: &str) {
    let mut program = Program::start(fixture("fails-once").args(end));
    assert_eq!(program.exit_code(), 0, "{end:?}");
    let pid = pid_in(&program.stdout.wait_for("task 1 pid "));
    let line = program.stderr.wait_for("restarting");
    assert!(line.starts_with(&format!("prefork: worker 1 (pid {pid}) {how} after ")), "{line}");
    let by_whom = if how == "killed by SIGKILL" { "; the SIGKILL came from outside" } else { "" };
    assert!(line.ends_with(&format!(", restarting (1/100){by_whom}")), "{line}");
    let replacement = program.stdout.wait_for("restarts 1");
    assert!(replacement.starts_with("task 1 pid "), "{replacement}");
    assert_ne!(pid_in(&replacement), pid);
    assert_eq!(program.stdout.count("task "), 4);
    assert_eq!(program.stderr.count("finished with status 0"), 3);
}

#[test]
fn restarts_counts_the_earlier_lives_of_a_task_id() {
    let mut program = Program::start(fixture("fails-often").arg("3"));
    assert_eq!(program.exit_code(), 0);
    let mut lines = program.stdout.all();
    lines.sort();
    let expected: Vec<String> =
        (0..2).flat_map(|id| (0..=3).map(move |restarts| format!("task {id} restarts {restarts}"))).collect();
    assert_eq!(lines, expected);
}

#[test]
fn max_restarts_is_how_many_are_replaced_over_all_workers() {
    let fails_six_times = |max_restarts| {
        let mut command = fixture("fails-often");
        let mut program = Program::start(command.arg("3").env("PREFORK_MAX_RESTARTS", max_restarts));
        let code = program.exit_code();
        (code, program)
    };
    let (code, program) = fails_six_times("6");
    assert_eq!(code, 0);
    program.stderr.wait_for("restarting (6/6)");
    let (code, program) = fails_six_times("5");
    assert_eq!(code, 1);
    program.stderr.wait_for("restarting (5/5)");
    assert_eq!(program.stderr.count("(6/"), 0);
}

#[test]
fn one_exit_too_many_stops_the_other_workers_and_exits_with_1() {
    let mut program = Program::start(fixture("sleeps").env("PREFORK_MAX_RESTARTS", "2"));
    let first = pids(&program, 3);
    let mut all = first.clone();
    // Each worker fails once: one budget for all.
    for (nth, &pid) in first.iter().enumerate().take(2) {
        send(pid, Signal::SIGKILL);
        program.stderr.wait_for(&format!("restarting ({}/2)", nth + 1));
        all.push(pid_in(&program.stdout.wait_for_nth(&format!("task {nth} pid "), 2)));
    }
    send(first[2], Signal::SIGKILL);
    assert_eq!(program.exit_code(), 1);
    assert_eq!(all.len(), 5);
    for pid in all {
        assert!(!is_alive(pid), "{pid} is left");
    }
    program.stderr.wait_for(&format!("worker 2 (pid {}) killed by SIGKILL after ", first[2]));
    program.stderr.wait_for("giving up: 2 of 2 restarts are used");
    assert_eq!(program.stderr.count("killed by SIGTERM"), 2);
    let last = program.stderr.all().pop().expect("a line");
    assert!(last.starts_with("prefork: gave up: worker 2 ended abnormally and all 2 restarts"), "{last}");
}

#[test]
fn without_restarts_the_first_abnormal_exit_gives_up() {
    let mut program = Program::start(fixture("sleeps").env("PREFORK_MAX_RESTARTS", "0"));
    let pids = pids(&program, 3);
    send(pids[1], Signal::SIGKILL);
    assert_eq!(program.exit_code(), 1);
    assert!(pids.into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn task_id_is_none_outside_a_worker() {
    let mut program = Program::start(&mut fixture("asks-who-it-is"));
    assert_eq!(program.exit_code(), 0);
    let mut lines = program.stdout.all();
    lines.sort();
    assert_eq!(
        lines,
        [
            "before: None false",
            "in the supervisor: None false",
            "in worker 0: Some(0) true",
            "in worker 1: Some(1) true"
        ]
    );
}

#[test]
fn task_id_is_0_without_supervision() {
    let mut program = Program::start(fixture("asks-who-it-is").env("PREFORK", "off"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.all(), ["before: None false", "in worker 0: Some(0) true"]);
}

#[test]
fn a_second_start_is_refused_in_a_worker_and_in_the_supervisor() {
    let mut program = Program::start(&mut fixture("starts-twice"));
    assert_eq!(program.exit_code(), 0);
    for who in ["worker 0", "worker 1", "supervisor"] {
        for call in ["start", "fork_processes"] {
            let line = program.stdout.wait_for(&format!("{who}, {call}: "));
            assert!(
                line.contains("prefork was already started in this process, or this process is a worker"),
                "{line}"
            );
        }
        program.stdout.wait_for(&format!("{who}, run: true"));
    }
    assert_eq!(program.stdout.count("forking"), 2);
    // `run` reports what `start` returns.
    assert_eq!(program.stderr.count("prefork was already started"), 3);
}

#[test]
fn a_second_start_is_refused_without_supervision() {
    let mut program = Program::start(fixture("starts-twice").env("PREFORK", "off"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.count("worker 0, start: prefork was already started"), 1);
    assert_eq!(program.stdout.count("worker 0, fork_processes: prefork was already started"), 1);
    assert_eq!(program.stdout.count("worker 0, run: true"), 1);
    assert_eq!(program.stdout.count("forking"), 0);
}

#[test]
fn a_start_that_failed_does_not_count_as_one() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut program = Program::start(fixture("starts-after-a-failure").arg(&address));
    assert_eq!(program.exit_code(), 0);
    let mut lines = program.stdout.all();
    lines.sort();
    assert_eq!(lines, [format!("no workers for {address}"), "task 0".to_owned(), "task 1".to_owned()]);
}

#[test]
fn fork_processes_returns_the_id_in_each_worker_and_exits_with_0_when_all_have_finished() {
    let mut program = Program::start(fixture("uses-fork-processes").args(["3", "0", "finish"]));
    assert_eq!(program.exit_code(), 0);
    let mut lines = program.stdout.all();
    lines.sort();
    assert_eq!(lines, ["task 0, which is Some(0)", "task 1, which is Some(1)", "task 2, which is Some(2)"]);
}

#[test]
fn fork_processes_respects_off_and_check() {
    let mut program = Program::start(fixture("uses-fork-processes").args(["3", "0", "fail"]).env("PREFORK", "off"));
    assert_eq!(program.exit_code(), 3);
    assert_eq!(program.stdout.all(), ["task 0, which is Some(0)"]);
    let mut program = Program::start(fixture("uses-fork-processes").args(["3", "0", "fail"]).env("PREFORK", "check"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.all(), [""; 0]);
}

#[test]
fn fork_processes_returns_an_error_when_it_gave_up() {
    let mut program = Program::start(fixture("uses-fork-processes").args(["1", "1", "fail"]));
    assert_eq!(program.exit_code(), 1);
    assert_eq!(program.stdout.count("task 0, which is Some(0)"), 2);
    program.stdout.wait_for("returned: gave up: worker 0 ended abnormally and all 1 restarts");
    program.stdout.wait_for("outside a worker: None");
}

#[test]
fn fork_processes_returns_an_error_when_it_cannot_start() {
    let mut command = fixture("uses-fork-processes");
    let mut program = Program::start(command.args(["2", "1", "fail"]).env("PREFORK_WORKERS", "two"));
    assert_eq!(program.exit_code(), 2);
    program.stdout.wait_for("returned: environment variable PREFORK_WORKERS");
    assert_eq!(program.stdout.count("task"), 0);
}

#[test]
fn children_made_before_the_start_are_reaped_and_otherwise_ignored() {
    // What the test writes to is the standard input of the child that ends with it.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let mut command = fixture("makes-children-first");
    command.stdin(std::os::fd::OwnedFd::from(theirs)).env("PREFORK_MAX_RESTARTS", "1");
    let program = &mut Program::start(&mut command);
    drop(command);
    let strangers = program.stdout.wait_for("children ");
    let strangers: Vec<i32> = strangers.split(' ').skip(1).map(|pid| pid.parse().expect("a pid")).collect();
    let workers = pids(program, 2);
    let is_reaped = |pid| until(&format!("{pid} is reaped"), || support::state_of(pid).is_none().then_some(()));
    is_reaped(strangers[0]);
    drop(ours);
    is_reaped(strangers[1]);
    assert!(workers.iter().all(|&pid| is_alive(pid)));
    // They have not touched the budget.
    send(workers[0], Signal::SIGKILL);
    program.stderr.wait_for("restarting (1/1)");
    program.stdout.wait_for_nth("task 0 pid ", 2);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    for line in program.stderr.all().iter().filter(|line| line.contains("pid ")) {
        assert!(!strangers.contains(&pid_in(line)), "{line}");
    }
}

#[test]
fn interrupted_calls_change_nothing() {
    let mut program = Program::start(&mut fixture("sleeps"));
    let workers = pids(&program, 3);
    for _ in 0..100 {
        for signal in [Signal::SIGUSR1, Signal::SIGCHLD, Signal::SIGCONT] {
            program.signal(signal);
        }
    }
    program.stderr.wait_for("SIGUSR1 from pid");
    assert!(workers.iter().all(|&pid| is_alive(pid)));
    send(workers[1], Signal::SIGKILL);
    program.stdout.wait_for_nth("task 1 pid ", 2);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stderr.count("restarting"), 1);
}
