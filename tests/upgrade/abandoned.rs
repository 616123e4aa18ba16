//! Upgrades that fail, and leave the pool as it was.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::http::{Client, under_load};
use crate::support::release::Release;
use crate::support::session::Session;
use crate::support::upgrading::{Upgrading, asks_the_fixture, install};
use crate::support::{Signal, clean_command, fixture, until};
use crate::{skip_unless, start};

type Spoil<'a> = &'a dyn Fn(&Upgrading);

#[test]
fn a_binary_that_is_no_better_leaves_the_old_pool_as_it_was() {
    let remove = |pool: &Upgrading| fs::remove_file(pool.release.path("app")).expect("it was there");
    let forbid = |pool: &Upgrading| {
        let mode = Permissions::from_mode(0o644);
        fs::set_permissions(pool.release.path("app"), mode).expect("it is ours");
    };
    let other = |pool: &Upgrading, text, instead| {
        pool.release.install("app", Path::new(fixture("upgrades").get_program()), text, instead);
    };
    let scramble = |pool: &Upgrading| other(pool, "\x7fELF", "\x7fFLE");
    // Such a build has another name for a word of the shared memory.
    let reshape = |pool: &Upgrading| other(pool, "TERMINATED_AT", "TERMINATED_ON");
    let build = |behaviour: &'static str| move |pool: &Upgrading| install(&pool.release, behaviour);
    let cases: [(Spoil<'_>, &str); 12] = [
        (&remove, "app cannot be run: No such file or directory"),
        (&forbid, "app cannot be run: Permission denied"),
        (&scramble, "app cannot be run: Exec format error (os error 8)"),
        (
            &reshape,
            "with status 2: environment variable PREFORK_UPGRADE: the running binary hands off its workers in format ",
        ),
        (&build("exits-at-once"), "with status 0, but has not read the handoff"),
        (&build("exits-with-3"), "with status 3: it printed nothing"),
        (&build("fails-check"), "with status 1: preload failed: app.toml, line 3: no such colour"),
        (&build("wants-many"), "1000 are more than the 66 that the running pool has room for"),
        (&build("fails-later"), "but could not start: preload failed: the database is gone"),
        (&build("panics-later"), "it passed its rehearsal, but panicked at its start"),
        (&build("dies"), "its replacement, worker 0 (pid "),
        (&build("never-ready"), "its replacement, worker 0 (pid "),
    ];
    for (nth, (spoil, why)) in cases.into_iter().enumerate() {
        // Who is never ready is waited for.
        let patience = if nth == cases.len() - 1 { "10s" } else { "30s" };
        let mut pool = Upgrading::start_with("serves-1", |command| command.env("PREFORK_READY_TIMEOUT", patience));
        let (pid, workers) = (pool.program.pid(), pool.program.children());
        let client: Client<'_> = &asks_the_fixture;
        let seen = under_load(&[client; 2], pool.address, |_| {
            spoil(&pool);
            pool.program.signal(Signal::SIGUSR2);
            let line = pool.wait_for_failure();
            assert!(line.contains(why), "{line}");
        });
        assert_eq!(*seen.failures.lock().unwrap(), [""; 0], "{why}");
        assert_eq!(seen.words.lock().unwrap().iter().collect::<Vec<_>>(), ["serves-1"], "{why}");
        assert_eq!(pool.program.wait_for_children(2), workers, "{why}");
        // It still does all it did: what workers say is heard.
        pool.program.signal(Signal::SIGHUP);
        pool.program.stderr.wait_for("reload done after");
        assert_eq!(pool.ask(), "serves-1");
        // And the next binary is welcome.
        pool.upgrade_to("serves-2");
        pool.wait_for_upgrade(1);
        assert_eq!((pool.ask().as_str(), pool.program.pid()), ("serves-2", pid));
        pool.program.stop();
        pool.program.wait_until_empty();
    }
}

#[test]
fn the_binary_before_comes_back_in_the_exclusive_style_too() {
    let pool = start("exclusive-1");
    let workers = pool.program.children();
    pool.upgrade_to("exclusive-dies");
    pool.wait_for_failure();
    let now = pool.program.wait_for_children(2);
    assert!(now.iter().any(|worker| workers.contains(worker)), "one of them was not touched: {workers:?} {now:?}");
    pool.program.stdout.wait_for_nth("exclusive-1 0", 2);
    pool.upgrade_to("exclusive-2");
    pool.wait_for_upgrade(1);
    assert_eq!(pool.ask(), "exclusive-2");
    pool.stop();
}

/// A reload takes as long as its workers, and so long an upgrade waits.
#[test]
fn a_binary_that_comes_after_the_rehearsal_is_not_run() {
    let pool = start("serves-1");
    pool.upgrade_to("waits");
    pool.program.stderr.wait_for("rehearsing the start of");
    let binary = pool.release.path("app");
    let runs_it = |child: &i32| fs::read_link(format!("/proc/{child}/exe")).is_ok_and(|runs| runs == binary);
    until("the rehearsal runs", || pool.program.children().iter().any(runs_it).then_some(()));
    install(&pool.release, "exits-with-3");
    fs::write(pool.release.path("go"), "").expect("written");
    let line = pool.wait_for_failure();
    assert!(line.contains("app is another than the one that was rehearsed"), "{line}");
    assert_eq!(pool.ask(), "serves-1");
    pool.upgrade_to("serves-2");
    pool.wait_for_upgrade(1);
    pool.stop();
}

#[test]
fn a_pool_whose_directory_has_gone_says_so() {
    let release = Release::new();
    install(&release, "serves-1");
    fs::create_dir(release.path("here")).expect("a directory");
    let mut command = clean_command(release.path("app").to_str().expect("text"));
    let mut program = Session::start(command.current_dir(release.path("here")));
    program.stderr.wait_for("ready after");
    fs::remove_dir(release.path("here")).expect("it is empty");
    program.signal(Signal::SIGUSR2);
    let line = program.stderr.wait_for("upgrade abandoned: ");
    assert!(line.contains("here, the directory that this program was started in, cannot be entered"), "{line}");
    program.stop();
}

#[test]
fn a_pool_without_memory_to_hand_over_says_so() {
    let release = Release::new();
    install(&release, "serves-1");
    // No file may have a byte.
    let mut command = clean_command("/bin/sh");
    command.args(["-c", "ulimit -f 0; exec ./app"]).current_dir(release.path(""));
    let mut program = Session::start(&mut command);
    program.stderr.wait_for("ready after");
    program.signal(Signal::SIGUSR2);
    let line = program.stderr.wait_for("upgrade abandoned: ");
    assert!(line.contains("ulimit -f"), "{line}");
    program.stop();
}

#[test]
fn a_pool_that_has_no_proc_says_so() {
    let may = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    skip_unless!(may.then_some(()), "unshare(1) may not make a mount namespace");
    let pool = Upgrading::start_as("serves-1", |command| {
        let mut unshare = clean_command("unshare");
        unshare.args(["--mount", "sh", "-c", "mount -t tmpfs none /proc; exec ./app"]);
        unshare.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        unshare
    });
    pool.program.signal(Signal::SIGUSR2);
    let line = pool.wait_for_failure();
    assert!(line.contains("is /proc mounted?"), "{line}");
    assert_eq!(pool.ask(), "serves-1");
    pool.stop();
}
