//! What processes that a pool has started leave behind: what is killed with them, and what is named.

mod support;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use support::before_exec::before_exec;
use support::lives::{lives, nth_worker, settle};
use support::session::Session;
use support::upgrading::Upgrading;
use support::{Program, Signal, clean_command, is_alive, own_path, send, status_of, until, wait_until_gone};

/// The process that the nth line names that says this.
fn nth_pid(program: &Program, line: &str, nth: usize) -> i32 {
    let line = program.stdout.wait_for_nth(line, nth);
    line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a process id")
}

/// All that workers have spawned so far.
fn spawned(program: &Program) -> Vec<i32> {
    let lines = program.stdout.all().into_iter().filter(|line| line.contains("spawned pid "));
    lines.map(|line| line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a process id")).collect()
}

/// What a start says that cannot listen there.
fn refusal(address: &str) -> String {
    let mut program = Session::start(lives(["wait"]).env("PREFORK_LISTEN", address));
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.stderr.all().pop().expect("a line")
}

#[test]
fn a_start_names_the_process_that_holds_its_address() {
    let path = own_path("held");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let _unix = UnixListener::bind(&path).expect("a path");
    let addresses = [
        tcp.local_addr().expect("an address").to_string(),
        format!("0.0.0.0:{}", tcp.local_addr().expect("an address").port()),
        format!("udp:{}", udp.local_addr().expect("an address")),
        format!("unix:{}", path.display()),
    ];
    let name = fs::read_to_string("/proc/self/comm").expect("/proc");
    // A process that another test is about to start has a copy for moments.
    let holder = format!("pid {} ({})", std::process::id(), name.trim_end());
    for address in addresses {
        let last = refusal(&address);
        assert!(last.contains(&address) && last.contains(&holder) && last.contains(" it, as `ss -l"), "{last}");
    }
    fs::remove_file(path).expect("it is there");
}

#[test]
fn a_start_that_may_not_see_the_process_that_holds_its_address_says_so() {
    if !nix::unistd::geteuid().is_root() {
        skip!("only root can start a program as another user");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = lives(["wait"]);
    command.env("PREFORK_LISTEN", taken.local_addr().expect("an address").to_string());
    let program = Session::start_as_a_user_of_its_own(&mut command, Stdio::piped());
    let mut program = skip_unless!(program, "others may not run what was built here");
    assert_eq!(program.exit_code(), 1);
    let last = program.stderr.all().pop().expect("a line");
    assert!(last.contains("it cannot be seen from here") && last.contains("as root"), "{last}");
}

#[test]
fn what_still_holds_a_listener_at_the_end_is_named() {
    let path = own_path("still-held");
    let mut command = lives(["--workers=1", "fork-away"]);
    command.env("PREFORK_LISTEN", format!("127.0.0.1:0,udp:127.0.0.1:0,unix:{}", path.display()));
    let mut program = Session::start(&mut command);
    let address = support::http::address_in(&program.stderr.wait_for("listening on 127.0.0.1:"));
    let stray = nth_pid(&program, "forked away pid ", 1);
    program.stop();
    assert!(is_alive(stray), "it has left the group");
    let lines = program.stderr.all();
    let line = &lines[lines.len() - 2];
    assert!(line.contains(&format!("pid {stray} (")) && line.contains(&format!("`kill {stray}`")), "{line}");
    for held in [address.to_string(), "udp:127.0.0.1:".to_owned(), format!("unix:{}", path.display())] {
        assert!(line.contains(&held), "{line}");
    }
    // And the next start names it too.
    for held in [address.to_string(), format!("unix:{}", path.display())] {
        let last = refusal(&held);
        assert!(last.contains(&format!("pid {stray} (")), "{last}");
    }
    send(stray, Signal::SIGKILL);
    wait_until_gone(&[stray]);
    let mut next = Session::start(lives(["--workers=1"]).env("PREFORK_LISTEN", address.to_string()));
    next.stderr.wait_for("ready after");
    next.stop();
    assert_eq!(next.stderr.count("still hold"), 0, "{:#?}", next.stderr.all());
    fs::remove_file(path).expect("it was left");
}

/// Promise 3. However a worker ends by itself.
#[test]
fn what_is_left_of_a_workers_group_dies_with_it() {
    let real_time = format!("raise={}", libc::SIGRTMIN() + 3);
    // Rust's handler lets the first SIGSEGV pass that no access to memory has raised.
    let ends: [(&[&str], bool); 9] = [
        (&["raise=11", "raise=11"], true),
        (&["raise=9"], true),
        (&["raise=6"], true),
        (&[&real_time], true),
        (&["exit=1"], true),
        (&["err=no"], true),
        (&["exit=0"], false),
        (&["return=0"], false),
        (&["exit=125"], false),
    ];
    for (end, is_replaced) in ends {
        let mut program = Session::start(lives(["--workers=1", "before-restart=1", "spawn"]).args(end));
        wait_until_gone(&[nth_pid(&program, "spawned pid ", 1)]);
        if is_replaced {
            program.stderr.wait_for("started, restart 1 of it");
            program.signal(Signal::SIGTERM);
        }
        assert_eq!(program.exit_code(), i32::from(end == ["exit=125"]), "{end:?}: {:#?}", program.stderr.all());
        program.wait_until_empty();
    }
}

/// However a worker is ended.
#[test]
fn what_is_left_of_a_workers_group_dies_with_a_worker_that_is_killed_or_told_to_end() {
    let hangs = ["--heartbeat_timeout=200ms", "before-restart=1", "spawn", "beat", "wait"];
    let program = Session::start(&mut lives(hangs));
    wait_until_gone(&[nth_pid(&program, "spawned pid ", 1), nth_pid(&program, "spawned pid ", 2)]);
    program.stderr.wait_for_nth("hung and was ended by SIGABRT", 2);
    for signal in [Signal::SIGKILL, Signal::SIGILL, Signal::SIGTERM] {
        let program = Session::start(&mut lives(["--workers=1", "before-restart=1", "spawn", "wait"]));
        let child = nth_pid(&program, "spawned pid ", 1);
        send(nth_worker(&program, 0, 1), signal);
        wait_until_gone(&[child]);
    }
    // Told by the supervisor: a reload, one worker fewer, a recycling, and both stops.
    for signal in [Signal::SIGHUP, Signal::SIGTTOU] {
        let program = Session::start(&mut lives(["before-restart=1", "handle", "spawn", "drain"]));
        let children = [1, 2].map(|nth| nth_pid(&program, "spawned pid ", nth));
        program.stderr.wait_for("ready after");
        program.signal(signal);
        until("one is gone", || children.iter().any(|&child| !is_alive(child)).then_some(()));
    }
    let program = Session::start(&mut lives(["--workers=1", "before-restart=1", "spawn", "recycle", "drain"]));
    wait_until_gone(&[nth_pid(&program, "spawned pid ", 1)]);
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let mut program = Session::start(&mut lives(["handle", "spawn", "drain"]));
        let children = [1, 2].map(|nth| nth_pid(&program, "spawned pid ", nth));
        program.signal(signal);
        assert_eq!(program.exit_code(), 0);
        wait_until_gone(&children);
        program.wait_until_empty();
    }
}

#[test]
fn a_line_says_that_processes_were_left_in_a_workers_group() {
    let mut program = Session::start(&mut lives(["--workers=1", "--max_restarts=unlimited", "spawn", "exit=1"]));
    // The process that reaps orphans may have been faster once.
    let line = program.stderr.wait_for("left processes in its process group");
    let pid: i32 = line.split_once("(pid ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok()).expect("a pid");
    assert!(line.contains("worker 0 (pid ") && line.contains("setsid"), "{line}");
    program.stdout.wait_for(&format!("task 0 pid {pid} "));
    program.stop();
    wait_until_gone(&spawned(&program));
    program.wait_until_empty();
    let mut program = Session::start(&mut lives(["--workers=1", "before-restart=9", "exit=1"]));
    program.stderr.wait_for("started, restart 9 of it");
    program.stop();
    assert_eq!(program.stderr.count("left processes"), 0, "{:#?}", program.stderr.all());
}

/// Promise 7. It was made by a worker, and left its group.
#[test]
fn the_group_of_a_strange_child_is_left_alone() {
    let mut command = lives(["--workers=1", "before-restart=1", "fork-away=with-a-child", "read", "exit=1"]);
    before_exec(&mut command, || Ok(nix::sys::prctl::set_child_subreaper(true)?));
    let (program, writer) = support::lives::start(&mut command);
    let (stranger, member) = (nth_pid(&program, "forked away pid ", 1), nth_pid(&program, "spawned pid ", 1));
    support::lives::let_go_on(&writer, 1);
    program.stderr.wait_for("started, restart 1 of it");
    send(stranger, Signal::SIGKILL);
    until("it is reaped", || (!fs::exists(format!("/proc/{stranger}")).expect("/proc")).then_some(()));
    settle(&program);
    assert!(is_alive(member));
    assert_eq!(program.stderr.count("left processes"), 0, "{:#?}", program.stderr.all());
}

/// The process that inherits them, this one or another, may be fast or slow.
#[test]
fn children_that_a_worker_never_waited_for_are_no_leftovers() {
    for is_subreaper in [false, true] {
        let mut command = lives(["--workers=1", "before-restart=9", "spawn=true", "exit=1"]);
        if is_subreaper {
            before_exec(&mut command, || Ok(nix::sys::prctl::set_child_subreaper(true)?));
        }
        let mut program = Session::start(&mut command);
        program.stderr.wait_for("started, restart 9 of it");
        program.stop();
        // The process that inherits them may reap them between two looks, often under load. A supervisor that takes them
        // for leftovers does so each time.
        let accused = program.stderr.count("left processes");
        assert!(accused <= if is_subreaper { 0 } else { 8 }, "{:#?}", program.stderr.all());
    }
}

#[test]
fn what_is_left_of_the_group_of_a_worker_of_the_binary_before_dies_with_it() {
    let pool = Upgrading::start("spawns");
    let children = [1, 2].map(|nth| nth_pid(&pool.program, "spawned pid ", nth));
    pool.upgrade_to("serves-2");
    pool.wait_for_upgrade(1);
    wait_until_gone(&children);
    pool.stop();
}

/// Puts a script in the place of the next binary. What it starts writes its process id to a file.
fn install_script(pool: &Upgrading, then: &str) {
    let (new, app) = (pool.release.path("script"), pool.release.path("app"));
    let text = format!("#!/bin/sh\nsleep 1000 &\necho $! > pid.new\nmv pid.new pid\n{then}\n");
    // By another process: see `support/release.rs`.
    let mut sh = Command::new("sh");
    sh.args(["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""]).arg(&new).arg(text);
    assert!(sh.status().expect("sh").success());
    fs::rename(new, app).expect("ours");
}

fn pid_in(file: &Path) -> i32 {
    until("the script has started a process", || fs::read_to_string(file).ok()?.trim().parse().ok())
}

#[test]
fn what_is_left_of_a_rehearsals_group_dies_with_it() {
    for (then, why) in [
        ("exit 0", "has not read the handoff"),
        ("exit 3", "with status 3"),
        ("kill -9 $$", "by SIGKILL"),
        ("kill -11 $$", "by SIGSEGV"),
    ] {
        let pool = Upgrading::start("serves-1");
        let address = pool.address.to_string();
        install_script(&pool, then);
        pool.program.signal(Signal::SIGUSR2);
        let line = pool.wait_for_failure();
        assert!(line.contains(why), "{line}");
        wait_until_gone(&[pid_in(&pool.release.path("pid"))]);
        assert_eq!(pool.ask(), "serves-1");
        pool.stop();
        let mut next = Session::start(lives(["--workers=1"]).env("PREFORK_LISTEN", address));
        next.stderr.wait_for("ready after");
        next.stop();
    }
    // One that is in progress when the pool is stopped.
    let pool = Upgrading::start("serves-1");
    install_script(&pool, "wait");
    pool.program.signal(Signal::SIGUSR2);
    let child = pid_in(&pool.release.path("pid"));
    pool.stop();
    wait_until_gone(&[child]);
}

/// Promise 12. Twice, as the supervisor may have had room for it once.
#[test]
fn a_rehearsal_may_print_as_much_as_it_likes() {
    let pool = Upgrading::start_as("serves-1", |command| {
        let mut sh = clean_command("sh");
        sh.args(["-c", "ulimit -v 400000; exec ./app"]);
        sh.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        sh
    });
    let workers = pool.program.children();
    for nth in 1..=2 {
        pool.upgrade_to("chatty-in-vain");
        let line = pool.program.stderr.wait_for_nth("upgrade abandoned: ", nth);
        assert!(line.contains("with status 1: preload failed: all was said in vain"), "{line}");
    }
    let most: u64 = status_of(pool.program.pid(), "VmHWM").trim_end_matches(" kB").parse().expect("a number");
    assert!(most < 64 << 10, "{most} kB");
    assert_eq!((pool.ask().as_str(), pool.program.children()), ("serves-1", workers));
    pool.upgrade_to("chatty");
    pool.wait_for_upgrade(1);
    assert_eq!(pool.ask(), "chatty");
    pool.stop();
}
