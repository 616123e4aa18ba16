//! SIGUSR2: a supervisor becomes another binary in place, or stays what it was, and no client notices.

mod abandoned;
mod requests;
#[path = "../support/mod.rs"]
mod support;
mod trust;
mod under_load;

use std::fs::{self};
use std::path::PathBuf;
use std::process::Command;

use support::before_exec::{blocking, ignoring};
use support::http::address_in;
use support::manager::Manager;
use support::release::Release;
use support::session::Session;
use support::upgrading::{Upgrading, ask, install};
use support::{Signal, children_of, clean_command, descriptors_of, send, status_of, until};

fn start(behaviour: &str) -> Upgrading {
    Upgrading::start(behaviour)
}

#[test]
fn the_new_binary_answers_and_the_pid_stays() {
    let pool = start("serves-1");
    let (pid, workers) = (pool.program.pid(), pool.program.children());
    assert_eq!(pool.ask(), "serves-1");
    pool.upgrade_to("serves-2");
    pool.wait_for_upgrade(1);
    assert_eq!(pool.ask(), "serves-2");
    let line = pool.program.stderr.wait_for("upgraded: ");
    assert!(
        line.contains(&format!("pid {pid} runs the new binary, and replaces the previous binary's 2 workers one")),
        "{line}"
    );
    let others = pool.program.wait_for_children(2);
    assert!(others.iter().all(|worker| !workers.contains(worker)), "{workers:?} {others:?}");
    // And again, to what is there.
    pool.program.signal(Signal::SIGUSR2);
    pool.wait_for_upgrade(2);
    assert_eq!(pool.ask(), "serves-2");
    pool.stop();
}

#[test]
fn no_worker_outlives_a_supervisor_that_was_another_binary() {
    let mut pool = start("serves-1");
    pool.upgrade_to("never-ready");
    // With workers of both.
    pool.program.stderr.wait_for("to take the place of");
    pool.program.wait_for_children(3);
    pool.program.signal(Signal::SIGKILL);
    pool.program.wait();
    pool.program.wait_until_empty();
}

#[test]
fn the_budget_stays_spent_and_dead_workers_are_known() {
    let mut pool = start("serves-1");
    send(pool.program.children()[0], Signal::SIGKILL);
    pool.program.stderr.wait_for("(1/100)");
    pool.program.wait_for_children(2);
    pool.upgrade_to("serves-2");
    pool.wait_for_upgrade(1);
    send(pool.program.wait_for_children(2)[1], Signal::SIGKILL);
    pool.program.stderr.wait_for("(2/100)");
    pool.program.wait_for_children(2);
    pool.program.stop();
}

#[test]
fn listeners_come_and_go_with_what_the_binary_listens_on() {
    let pool = start("serves-1");
    pool.upgrade_to("listens-to-two");
    pool.wait_for_upgrade(1);
    let extra = address_in(&pool.program.stderr.wait_for("listening on extra="));
    assert_eq!(
        (pool.ask(), ask(extra).expect("an answer")),
        ("listens-to-two".to_owned(), "listens-to-two".to_owned())
    );
    // What fails takes nothing away.
    pool.upgrade_to("dies");
    pool.wait_for_failure();
    assert_eq!(ask(extra).expect("an answer"), "listens-to-two");
    pool.upgrade_to("serves-2");
    pool.wait_for_upgrade(2);
    until("the extra address has no listener any more", || ask(extra).is_err().then_some(()));
    assert_eq!(pool.ask(), "serves-2");
    pool.stop();
}

/// What is open, as kinds of files; and what is ignored, caught and blocked, but for a supervisor, which without
/// signalfd(2) blocks signals or not from moment to moment.
fn state_of(pid: i32) -> (Vec<PathBuf>, Vec<String>) {
    let link = |number: &String| fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("it is open");
    let kind = |path: PathBuf| PathBuf::from(path.to_str().expect("text").split([':', '[']).next().expect("a name"));
    let mut kinds: Vec<PathBuf> = descriptors_of(pid).iter().map(link).map(kind).collect();
    kinds.sort();
    let masks: &[&str] =
        if children_of(pid).is_empty() { &["SigIgn", "SigCgt", "SigBlk"] } else { &["SigIgn", "SigCgt"] };
    (kinds, masks.iter().map(|name| status_of(pid, name)).collect())
}

#[test]
fn nothing_is_left_over_in_the_new_binary() {
    let starts: [fn(&mut Command) -> &mut Command; 3] = [
        |command| command,
        |command| blocking(command, [Signal::SIGUSR1, Signal::SIGCHLD, Signal::SIGPIPE]),
        |command| ignoring(command, [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGTSTP]),
    ];
    for start in starts {
        let pool = Upgrading::start_with("serves-1", start);
        let supervisor = pool.program.pid();
        let before = [supervisor, pool.program.children()[0]].map(state_of);
        for nth in 1..=3 {
            pool.upgrade_to(&format!("serves-{nth}"));
            pool.wait_for_upgrade(nth);
        }
        let worker = pool.program.wait_for_children(2)[0];
        // It may be new.
        pool.program.stdout.wait_for(&format!(" {worker}"));
        assert_eq!([supervisor, worker].map(state_of), before);
        pool.program.stdout.wait_for_nth("sees []", 8);
        assert_eq!(pool.program.stdout.count("sees ["), 8);
        pool.stop();
    }
}

#[test]
fn a_program_that_was_found_in_the_path_is_found_there_again() {
    let release = Release::new();
    install(&release, "serves-1");
    let mut command = clean_command("/bin/sh");
    command.args(["-c", "exec app"]).env("PATH", format!("{}:/usr/bin:/bin", release.path("").display()));
    let mut program = Session::start(&mut command);
    let address = address_in(&program.stderr.wait_for("listening on "));
    program.stderr.wait_for("ready after");
    install(&release, "serves-2");
    program.signal(Signal::SIGUSR2);
    program.stderr.wait_for("upgrade done after");
    assert_eq!(ask(address).expect("an answer"), "serves-2");
    assert!(program.stderr.wait_for("rehearsing the start of").ends_with(release.path("app").to_str().expect("text")));
    program.stop();
}

#[test]
fn the_state_for_another_process_is_ignored() {
    for number in ["0", "7", "-1", "nonsense"] {
        let pool = Upgrading::start_with("serves-1", |command| command.env("PREFORK_UPGRADE", number));
        assert_eq!(pool.ask(), "serves-1");
        pool.stop();
    }
}

/// The supervisor does not wait for a pipe that may never end, and takes nothing that another process will read.
#[test]
fn a_pipe_under_the_number_of_the_handoff_is_left_alone() {
    let pool = Upgrading::start_as("serves-1", |command| {
        let mut sh = clean_command("sh");
        sh.args(["-c", "mkfifo pipe; exec 7<>pipe; exec ./app"]).env("PREFORK_UPGRADE", "7");
        sh.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        sh
    });
    assert_eq!(pool.ask(), "serves-1");
    pool.upgrade_to("serves-2");
    pool.wait_for_upgrade(1);
    pool.stop();
}

#[test]
fn a_service_manager_hears_how_an_upgrade_goes() {
    let manager = Manager::with_a_path();
    let pool = Upgrading::start_with("serves-1", |command| manager.watches(command));
    manager.wait_for("READY=1");
    pool.upgrade_to("serves-2");
    assert!(manager.wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    assert!(manager.wait_for("READY=1").contains("upgrade done after"));
    for behaviour in ["fails-check", "dies"] {
        pool.upgrade_to(behaviour);
        manager.wait_for("RELOADING=1");
        assert!(manager.wait_for("READY=1").contains("upgrade abandoned: "), "{behaviour}");
    }
    pool.stop();
}
