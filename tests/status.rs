//! The scoreboard: what `status()` says of the pool, in which processes, and what a worker can spoil. And the names of the
//! processes.

mod support;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};
use support::before_exec::{without_call, without_fork};
use support::session::Session;
use support::{Lines, Signal, clean_command, fixture, is_alive, moments, send, stat_of, status_of, until};

fn start(arguments: &[&str], workers: usize) -> Session {
    Session::start(fixture("shows-the-pool").args(arguments).env("PREFORK_WORKERS", workers.to_string()))
}

/// Waits for a line of worker 0 in which the pool is so: `0 ready *, 1 waiting -`.
fn wait_for_pool(lines: &Lines, pool: &str) -> Vec<String> {
    until(&format!("the pool is {pool}"), || lines.all().iter().find_map(|line| matches(line, pool)))
}

/// The process ids for the stars.
fn matches(line: &str, pool: &str) -> Option<Vec<String>> {
    let (_, shown) = line.strip_prefix("pool of ")?.split_once(": ")?;
    let (shown, pool): (Vec<&str>, Vec<&str>) = (shown.split([' ', ',']).collect(), pool.split([' ', ',']).collect());
    let same = shown.len() == pool.len()
        && shown.iter().zip(&pool).all(|(shown, pool)| shown == pool || (*pool == "*" && shown.parse::<u32>().is_ok()));
    same.then(|| shown.iter().zip(&pool).filter(|(_, pool)| **pool == "*").map(|(pid, _)| (*pid).to_owned()).collect())
}

/// A name that no other test uses.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

#[test]
fn a_worker_sees_the_pool_and_no_process_does_before_the_start() {
    let program = start(&["watches"], 3);
    program.stdout.wait_for("before the start: nothing");
    let pids = wait_for_pool(&program.stdout, "0 ready *, 1 ready *, 2 ready *");
    let mut pids: Vec<i32> = pids.iter().map(|pid| pid.parse().expect("a pid")).collect();
    pids.sort_unstable();
    let mut children = program.wait_for_children(3);
    children.sort_unstable();
    assert_eq!(pids, children);
    program.stdout.wait_for(&format!("pool of {}: ", program.pid()));
}

#[test]
fn every_state_is_seen() {
    let ready = path("ready");
    let _ = fs::remove_file(&ready);
    let mut command = fixture("shows-the-pool");
    command.args(["is-ready-when-told", ready.to_str().expect("text")]).env("PREFORK_WORKERS", "2");
    // Each state lasts until the test goes on, as the worker that looks at the pool may be late.
    let program = Session::start(command.env("PREFORK_BACKOFF", "1h").env("PREFORK_GRACEFUL_TIMEOUT", "1h"));
    // The last line is the pool as it is.
    let is_now = |pool: &str| matches(&program.stdout.all().pop()?, pool);
    let becomes = |pool: &str| until(&format!("the pool is {pool}"), || is_now(pool));
    becomes("0 ready *, 1 starting *");
    fs::write(&ready, "").expect("a file");
    // The first restart is immediate; one that follows soon is not.
    let mut killed = Vec::new();
    until("it waits for its restart", || {
        let victim = is_now("0 ready *, 1 ready *").map(|pids| pids[1].clone());
        if let Some(victim) = victim.filter(|pid| !killed.contains(pid)) {
            send(victim.parse().expect("a pid"), Signal::SIGKILL);
            killed.push(victim);
        }
        (program.stderr.count("restarting in 1h") > 0).then_some(())
    });
    becomes("0 ready *, 1 waiting -");
    // One fewer, and one more, which does not wait.
    program.signal(Signal::SIGTTOU);
    becomes("0 ready *");
    program.signal(Signal::SIGTTIN);
    becomes("0 ready *, 1 ready *");
    // One fewer: it drains as long as there is the file.
    program.signal(Signal::SIGTTOU);
    becomes("0 ready *, 1 stopping *");
    fs::remove_file(&ready).expect("a file");
    becomes("0 ready *");
    // One more.
    program.signal(Signal::SIGTTIN);
    becomes("0 ready *, 1 starting *");
}

#[test]
fn a_worker_that_has_finished_is_shown_so() {
    let mut program = start(&["finishes"], 3);
    wait_for_pool(&program.stdout, "0 ready *, 1 finished -, 2 finished -");
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn the_supervisor_sees_the_pool_too() {
    let mut program = start(&["logs"], 2);
    let own = program.pid();
    let line = program.stdout.wait_for("all 2 workers are ready");
    assert!(line.starts_with(&format!("log in {own}: ")), "{line}");
    assert!(line.contains("(0 ready ") && line.contains(", 1 ready "), "{line}");
    let line = program.stdout.wait_for("starting 2 workers");
    assert!(line.contains("(no pool)"), "{line}");
    program.signal(Signal::SIGTERM);
    program.exit_code();
    let line = program.stdout.wait_for("stopped by SIGTERM");
    assert!(line.ends_with("(0 finished -, 1 finished -)"), "{line}");
}

#[test]
fn without_supervision_the_pool_is_this_process() {
    let program = Session::start(fixture("shows-the-pool").arg("watches").env("PREFORK", "off"));
    let pids = wait_for_pool(&program.stdout, "0 ready *");
    assert_eq!(pids, [program.pid().to_string()]);
    program.stdout.wait_for(&format!("pool of {}: ", program.pid()));
}

#[test]
fn no_snapshot_is_torn_while_workers_come_and_go() {
    let mut command = fixture("shows-the-pool");
    let program = Session::start(
        command
            .arg("checks")
            .env("PREFORK_WORKERS", "6")
            .env("PREFORK_BACKOFF", "0s")
            .env("PREFORK_GRACEFUL_TIMEOUT", "5s"),
    );
    for (nth, moment) in (1..=15).zip(moments()) {
        program.stdout.wait_for_nth("has taken", nth * 5);
        if nth % 3 == 0 {
            program.signal(Signal::SIGHUP);
        } else if let [.., victim] = program.children()[..] {
            std::thread::sleep(Duration::from_micros(moment % 2000));
            // One that a reload replaces may be gone by now.
            let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
        }
    }
    // Workers may have been faster than the supervisor.
    program.stderr.wait_for("restarting");
    program.stderr.wait_for("reloading");
    program.stdout.wait_for_nth("has taken", program.stdout.count("has taken") + 25);
    let lines = program.stdout.all();
    assert_eq!(program.stdout.count("wrong"), 0, "{:#?}", lines.iter().filter(|line| line.contains("wrong")).take(3));
}

#[test]
fn a_worker_that_is_killed_while_it_beats_leaves_nothing_locked() {
    let program = start(&["beats-hard"], 3);
    let pids = |line: &str| -> i32 {
        let (_, after) = line.split_once("pid ").expect("a pid");
        after.split_once(':').and_then(|(pid, _)| pid.parse().ok()).expect("a pid")
    };
    let mut victim = 0;
    for _ in 0..10 {
        victim = until("worker 1 beats, and is another one than before", || {
            let lines = program.stdout.all();
            let line = lines.iter().rev().find(|line| line.contains("worker 1 pid"))?;
            Some(pids(line)).filter(|&pid| pid != victim && line.contains("some beats: true"))
        });
        send(victim, Signal::SIGKILL);
    }
    program.stderr.wait_for("(10/unlimited)");
    assert_eq!(program.stdout.count("some beats: false"), 0);
}

#[test]
fn a_worker_cannot_write_to_what_is_not_its_own() {
    for order in ["forwards", "backwards"] {
        let program = start(&["scribbles", order], 3);
        let line = program.stderr.wait_for("worker 1 (pid");
        assert!(line.contains("killed by SIGSEGV") || line.contains("killed by SIGBUS"), "{order}: {line}");
        program.stdout.wait_for("writable: 1");
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).expect("a size").expect("a size");
        program.stdout.wait_for(&format!("writable bytes: {page}"));
        program.stderr.wait_for("worker 1 (pid");
        program.stderr.wait_for("started, restart 1 of it");
        until("the pool is whole again", || {
            program.stdout.all().iter().rev().find_map(|line| matches(line, "0 ready *, 1 ready *, 2 ready *"))
        });
        assert_eq!(program.stdout.count("everything was written to"), 0);
        assert!(program.stderr.count("restarting") == 1, "{:#?}", program.stderr.all());
    }
}

/// Worker 1 attacks the memory that all share: nothing comes of it.
fn attack(command: &mut Command) {
    command.arg("attacks").env("PREFORK_WORKERS", "3").env("PREFORK_HEARTBEAT_TIMEOUT", "6s");
    if geteuid().is_root() {
        // Root may open any memory again.
        command.env("PREFORK_USER", "65534");
    }
    let mut program = Session::start(command);
    program.stdout.wait_for("has tried everything in ");
    assert_eq!(program.stdout.count("has tried everything in 0"), 0, "{:#?}", program.stdout.all());
    // 100 beats take a second at least.
    let beaten = program.stdout.count("worker 2 pid");
    program.stdout.wait_for_nth("worker 2 pid", beaten + 8);
    for wrong in ["gets in by", "a look at the pool has taken", "is shown wrong"] {
        assert_eq!(program.stdout.count(wrong), 0, "{:#?}", program.stdout.all());
    }
    assert_eq!(program.stderr.count("heartbeat"), 0, "{:#?}", program.stderr.all());
    program.stop();
}

#[test]
fn no_worker_gets_at_the_rows_or_at_the_seat_of_another() {
    attack(&mut fixture("shows-the-pool"));
}

#[test]
fn without_a_file_for_the_memory_the_kernel_seals_it() {
    // SAFETY: sealing nothing changes nothing.
    let sealed = unsafe { libc::syscall(libc::SYS_mseal, 0, 0, 0) };
    if sealed != 0 {
        skip!("this kernel has no mseal(2)");
    }
    attack(without_call(&mut fixture("shows-the-pool"), libc::SYS_memfd_create, libc::ENOSYS));
}

/// In clock ticks.
fn cpu_time(pid: i32) -> u64 {
    let stat = stat_of(pid).expect("it is alive");
    [11, 12].iter().map(|&field| stat[field].parse::<u64>().expect("a time")).sum()
}

#[test]
fn a_worker_that_floods_the_wake_pipe_costs_the_supervisor_little() {
    let program = start(&["floods"], 3);
    program.stdout.wait_for("floods 1 pipes");
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).expect("a number").expect("a number");
    let (start, before) = (Instant::now(), cpu_time(program.pid()));
    // 100 beats take a second at least.
    program.stdout.wait_for_nth("worker 2 pid", 3);
    let spent = (cpu_time(program.pid()) - before) as f64 / per_second as f64;
    assert!(spent < start.elapsed().as_secs_f64() / 3.0, "{spent} s of {:?}", start.elapsed());
}

#[test]
fn garbage_in_a_workers_own_seat_harms_no_other_worker() {
    let mut command = fixture("shows-the-pool");
    let mut program = Session::start(
        command.arg("scribbles-on-its-own").env("PREFORK_WORKERS", "3").env("PREFORK_HEARTBEAT_TIMEOUT", "8s"),
    );
    program.stdout.wait_for("writes garbage to 512 words");
    let whole = |line: &String| matches(line, "0 ready *, 1 ready *, 2 ready *");
    let first = until("the pool is there", || program.stdout.all().iter().find_map(whole));
    // Longer than the timeout, in which the supervisor looks at what was written.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(100));
        program.signal(Signal::SIGUSR1);
    }
    for healthy in [&first[0], &first[2]] {
        assert!(is_alive(healthy.parse().expect("a pid")), "{:#?}", program.stderr.all());
    }
    let about = |line: &&String| line.contains("worker 0 (pid") || line.contains("worker 2 (pid");
    assert_eq!(program.stderr.all().iter().filter(about).collect::<Vec<_>>(), [""; 0]);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
}

#[test]
fn a_thousand_workers_are_shown() {
    let program = start(&["watches"], 1100);
    let all: Vec<String> = (0..1100).map(|task_id| format!("{task_id} ready *")).collect();
    let pids = wait_for_pool(&program.stdout, &all.join(", "));
    assert_eq!(pids.len(), 1100);
}

/// What the kernel calls it.
fn comm(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).expect("it is alive").trim_end().to_owned()
}

/// All processes as ps(1) calls them.
fn listed() -> Vec<String> {
    let output = Command::new("ps").args(["-e", "-o", "pid=,comm="]).output().expect("ps(1)");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_supervisor_and_the_workers_have_names_of_their_own() {
    for (app, supervisor, workers) in [
        ("app", "app: supervisor", ["app: worker 0", "app: worker 1", "app: worker 2"]),
        ("a-very-long-program-name", "a-very-lon: sup", ["a-very-long: w0", "a-very-long: w1", "a-very-long: w2"]),
    ] {
        let directory = path(app);
        fs::create_dir_all(&directory).expect("a directory");
        let program = directory.join(app);
        let _ = fs::remove_file(&program);
        symlink(fixture("sleeps").get_program(), &program).expect("a link");
        let program = Session::start(clean_command(program.to_str().expect("text")).arg("sleeps"));
        program.stdout.wait_for_nth("task", 3);
        assert_eq!(comm(program.pid()), supervisor);
        let children = program.wait_for_children(3);
        let mut names: Vec<String> = children.iter().map(|&pid| comm(pid)).collect();
        names.sort();
        assert_eq!(names, workers);
        let listed = listed();
        for pid in children.iter().chain([&program.pid()]) {
            assert!(listed.contains(&format!("{pid} {}", comm(*pid))), "{pid}: {listed:#?}");
        }
        // A replacement has its predecessor's.
        let victim = children[0];
        let name = comm(victim);
        send(victim, Signal::SIGKILL);
        program.stdout.wait_for_nth("task", 4);
        let names: Vec<String> = program.wait_for_children(3).into_iter().map(comm).collect();
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn without_supervision_the_name_stays() {
    let program = Session::start(fixture("sleeps").env("PREFORK", "off"));
    program.stdout.wait_for("task 0 pid");
    assert_eq!(status_of(program.pid(), "Name"), "fixture");
}

#[test]
fn a_start_that_fails_leaves_neither_a_name_nor_a_pool() {
    let mut program = Session::start(without_fork(fixture("shows-the-pool").arg("cannot-start")));
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    program.stdout.wait_for("failed: true, same name: true, pool: false");
}
