//! In a real terminal: what the keys do, and who may read.

mod support;
use std::fs;

use nix::unistd::geteuid;
use support::terminal::{CTRL_C, CTRL_Z, Terminal};
use support::{Signal, children_of, fixture, line, moments, send, state_of, until};

/// Values of PREFORK_USER: what a terminal does to a pool is the same whether its workers have sessions of their own.
fn users() -> &'static [&'static str] {
    if geteuid().is_root() { &["none", "nobody"] } else { &["none"] }
}

fn wait_for_workers(supervisor: i32, count: usize) -> Vec<i32> {
    until("the workers are there", || Some(children_of(supervisor)).filter(|workers| workers.len() == count))
}

fn wait_until_stopped(pids: &[i32]) {
    until(&format!("{pids:?} are stopped"), || pids.iter().all(|&pid| state_of(pid) == Some('T')).then_some(()));
}

fn wait_until_continued(pids: &[i32]) {
    until(&format!("{pids:?} run"), || pids.iter().all(|&pid| state_of(pid) != Some('T')).then_some(()));
}

/// A pool that a shell has started, its supervisor, and all of its processes.
fn job_of_a_shell(user: &str) -> (Terminal, i32, Vec<i32>) {
    let mut terminal = Terminal::shell();
    terminal.type_in(&format!("PREFORK_USER={user} {}\n", line(&fixture("sleeps"))));
    let supervisor = terminal.job();
    terminal.screen.wait_for("task 2 pid");
    let workers = wait_for_workers(supervisor, 3);
    (terminal, supervisor, [workers, vec![supervisor]].concat())
}

#[test]
fn ctrl_c_reaches_only_the_supervisor_and_stops_in_order() {
    for user in users() {
        let mut terminal = Terminal::shell();
        terminal.type_in(&format!("PREFORK_USER={user} {}; echo status $?\n", line(&fixture("sleeps"))));
        terminal.screen.wait_for("task 2 pid");
        wait_for_workers(terminal.job(), 3);
        terminal.type_in(CTRL_C);
        terminal.screen.wait_for("SIGINT from the terminal: stopping 3 workers");
        terminal.screen.wait_for("stopped by SIGINT from the terminal: exiting with status 0");
        terminal.screen.wait_for("status 0");
        assert_eq!(terminal.screen.count("killed by SIGTERM"), 3, "{user}");
        assert_eq!(terminal.screen.count("killed by SIGINT"), 0, "{user}");
    }
}

#[test]
fn ctrl_c_a_second_time_kills_at_once() {
    for user in users() {
        let mut command = fixture("ignores-term");
        let mut terminal = Terminal::run(command.env("PREFORK_GRACEFUL_TIMEOUT", "1h").env("PREFORK_USER", user));
        terminal.screen.wait_for_nth("blocks all signals", 2);
        terminal.type_in(CTRL_C);
        terminal.screen.wait_for("SIGINT from the terminal: stopping 2 workers");
        terminal.type_in(CTRL_C);
        assert_eq!(terminal.exit_code(), 0, "{user}");
        terminal.screen.wait_for("SIGINT from the terminal: killing 2 workers");
    }
}

#[test]
fn ctrl_c_does_not_wait_for_drain_delay() {
    let mut terminal = Terminal::run(fixture("sleeps").env("PREFORK_DRAIN_DELAY", "1h"));
    wait_for_workers(terminal.pid(), 3);
    terminal.type_in(CTRL_C);
    assert_eq!(terminal.exit_code(), 0);
    assert_eq!(terminal.screen.count("drain_delay"), 0);
}

#[test]
fn ctrl_z_and_fg_act_on_the_pool_as_a_whole() {
    for user in users() {
        let (mut terminal, _, processes) = job_of_a_shell(user);
        for _ in 0..3 {
            terminal.type_in(CTRL_Z);
            wait_until_stopped(&processes);
            terminal.type_in("fg\n");
            wait_until_continued(&processes);
        }
        terminal.type_in(CTRL_C);
        terminal.screen.wait_for("exiting with status 0");
        assert_eq!(terminal.screen.count("restart"), 0, "{user}");
    }
}

#[test]
fn a_suspended_pool_is_continued_by_sigcont_and_stopped_by_what_came_before() {
    for user in users() {
        let (terminal, supervisor, processes) = job_of_a_shell(user);
        send(supervisor, Signal::SIGTSTP);
        wait_until_stopped(&processes);
        send(supervisor, Signal::SIGTERM);
        send(supervisor, Signal::SIGCONT);
        terminal.screen.wait_for("stopped by SIGTERM from pid");
    }
}

#[test]
fn a_supervisor_that_leads_its_session_does_not_leave_workers_stopped() {
    for user in users() {
        let mut terminal = Terminal::run(fixture("sleeps").env("PREFORK_USER", user));
        let supervisor = terminal.pid();
        let workers = wait_for_workers(supervisor, 3);
        for nth in 1..=3 {
            terminal.type_in(CTRL_Z);
            // The kernel does not stop an orphaned process group: no shell could continue it.
            terminal.screen.wait_for_nth("SIGTSTP: suspended", nth);
            // It is read when that is over.
            send(supervisor, Signal::SIGUSR1);
            terminal.screen.wait_for_nth("SIGUSR1", nth);
            wait_until_continued(&workers);
            assert_ne!(state_of(supervisor), Some('T'), "{user}");
        }
        terminal.type_in(CTRL_C);
        assert_eq!(terminal.exit_code(), 0, "{user}");
        assert_eq!(terminal.screen.count("had to be killed"), 0, "{user}");
    }
}

#[test]
fn workers_have_dev_null_for_a_terminal_and_else_what_the_supervisor_has() {
    let mut terminal = Terminal::run(&mut fixture("shows-stdin"));
    terminal.screen.wait_for("stdin is /dev/null");
    assert_eq!(terminal.exit_code(), 0);

    let mut terminal = Terminal::shell();
    terminal.type_in(&format!("{} < /dev/zero\n", line(&fixture("shows-stdin"))));
    terminal.screen.wait_for("stdin is /dev/zero");

    let mut program = support::Program::start(fixture("shows-stdin").stdin(std::process::Stdio::piped()));
    program.stdout.wait_for("stdin is pipe:");
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn a_worker_that_reads_the_terminal_is_reported_with_what_to_do() {
    for leads in [true, false] {
        let mut terminal = if leads {
            Terminal::run(&mut fixture("reads-the-terminal"))
        } else {
            let mut terminal = Terminal::shell();
            terminal.type_in(&format!("{}\n", line(&fixture("reads-the-terminal"))));
            terminal
        };
        let supervisor = if leads { terminal.pid() } else { terminal.job() };
        let worker = wait_for_workers(supervisor, 1)[0];
        let line = terminal.screen.wait_for("was stopped by SIGTTIN: it reads from the terminal");
        assert!(line.contains(&format!("worker 0 (pid {worker})")), "{line}");
        assert!(line.contains("use a pipe or a file") && line.contains(&format!("kill -KILL {worker}")), "{line}");
        assert_eq!(state_of(worker), Some('T'));
        terminal.type_in(CTRL_C);
        terminal.screen.wait_for("exiting with status 0");
    }
}

#[test]
fn ctrl_c_during_restarts_kills_no_new_worker() {
    for moment in moments().take(15) {
        let mut command = fixture("dies-young");
        let mut terminal = Terminal::run(command.env("PREFORK_BACKOFF", "0s").env("PREFORK_MAX_RESTARTS", "unlimited"));
        terminal.screen.wait_for_nth("restarting", 10);
        std::thread::sleep(std::time::Duration::from_micros(moment % 3000));
        terminal.type_in(CTRL_C);
        assert_eq!(terminal.exit_code(), 0);
        assert_eq!(terminal.screen.count("killed by SIGINT"), 0, "{:#?}", terminal.screen.all());
    }
}

/// With each kind of terminal that a pool may have, and with another descriptor of it.
#[test]
fn a_worker_of_another_user_can_write_to_the_terminal_and_nothing_else() {
    if !geteuid().is_root() {
        skip!("only root can become another user");
    }
    let attacks = || {
        let mut command = fixture("runs-as");
        command.args(["65534", "65534", "attack"]);
        command
    };
    let mut shell = Terminal::shell();
    shell.type_in(&format!("{} 3>&1 4</dev/tty\n", line(&attacks())));
    let (leader, alone) = (Terminal::run(&mut attacks()), Terminal::of_no_session(&mut attacks()));
    // What is open of the terminal, and from where on by the name /dev/tty, the last one by the program itself.
    let kinds = [("shell", shell, 1..=5, 4), ("leader", leader, 1..=3, 3), ("alone", alone, 1..=2, 3)];
    for (kind, mut terminal, open, by_name) in kinds {
        // It waits in the terminal, where the worker would find it.
        terminal.type_in("typed\n");
        terminal.screen.wait_for("attacks are over");
        let answers = |what: &str, answer: &str| {
            let line = format!("attack {what}: {answer}\r");
            assert_eq!(terminal.screen.count(&line), 1, "{kind}: no {line:?} in {:#?}", terminal.screen.all());
        };
        answers("open of /dev/tty", "ENXIO");
        answers("SIGCONT to the supervisor", "EPERM");
        answers("a place in the supervisor's group", "EPERM");
        assert_eq!(terminal.screen.count("attack read of "), open.clone().count(), "{kind}");
        for descriptor in open.clone() {
            // Where the system lets others than root type (dev.tty.legacy_tiocsti), too.
            let types = fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").map_or(true, |word| word.trim() == "1");
            for once in ["TIOCSTI", "TIOCSTI once more"] {
                answers(&format!("{once} on {descriptor}"), if types { "EPERM" } else { "EIO" });
            }
            answers(&format!("TIOCSCTTY on {descriptor}"), "EPERM");
            answers(&format!("TIOCNOTTY on {descriptor}"), "ENOTTY");
            answers(&format!("TIOCSPGRP on {descriptor}"), "ENOTTY");
            let is_by_name = descriptor >= by_name;
            answers(&format!("reopening of {descriptor}"), if is_by_name { "ENXIO" } else { "EACCES" });
            let is_private = is_by_name && descriptor == *open.end();
            answers(&format!("close-on-exec of {descriptor}"), if is_private { "true" } else { "false" });
            answers(&format!("read of {descriptor}"), "EBADF");
        }
    }
}

/// As after su(1): it may not open the terminal again, and has nothing to keep from its workers.
#[test]
fn a_program_that_is_its_workers_user_need_not_open_the_terminal_again() {
    if !geteuid().is_root() {
        skip!("only root has a terminal that others may not open");
    }
    let mut command = support::clean_command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "/bin/sh", "-c"]);
    command.arg(format!("exec {}", line(&fixture("sleeps")))).env("PREFORK_USER", "65534");
    let mut terminal = Terminal::run(command.env("PREFORK_GROUP", "65534"));
    terminal.screen.wait_for("task 2 pid");
    terminal.type_in(CTRL_C);
    assert_eq!(terminal.exit_code(), 0);
}
