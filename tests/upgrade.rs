//! SIGUSR2: a supervisor becomes another binary in place, or stays what it was, and nobody who asks notices.

mod support;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::before_exec::{blocking, ignoring};
use support::http::{
    self, Client, address_in, assert_all_answered, connection_per_request, keep_alive, thousands, under_load,
};
use support::manager::Manager;
use support::pid_1::as_pid_1;
use support::release::Release;
use support::session::Session;
use support::upgrading::{Upgrading, ask, asks_the_fixture, install};
use support::{Program, Signal, children_of, clean_command, descriptors_of, fixture, send, status_of, until};

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
    assert!(line.contains(&format!("pid {pid} is the new binary, with 2 workers of the one before")), "{line}");
    let others = pool.program.wait_for_children(2);
    assert!(others.iter().all(|worker| !workers.contains(worker)), "{workers:?} {others:?}");
    // And again, to what is there.
    pool.program.signal(Signal::SIGUSR2);
    pool.wait_for_upgrade(2);
    assert_eq!(pool.ask(), "serves-2");
    pool.stop();
}

/// Upgrades the example again and again while clients ask, and returns what they saw.
fn upgrade_under_load(release: &Release, program: &Program, supervisor: i32, next: impl Fn(&str)) {
    let address = address_in(&program.stderr.wait_for("listening on "));
    program.stderr.wait_for("ready after");
    let busy: Client<'_> = &|address, seen| keep_alive(address, Duration::ZERO, seen);
    let clients = [[&connection_per_request as Client<'_>; 4], [busy; 4]].concat();
    let seen = under_load(&clients, address, |seen| {
        for (nth, word) in (1..).zip(["howdy", "hullo", "hello"]) {
            next(word);
            send(supervisor, Signal::SIGUSR2);
            program.stderr.wait_for_nth("upgrade done after", nth);
            until("the new binary answers", || seen.words.lock().unwrap().contains(word).then_some(()));
        }
        let is_over = || thousands(seen) || !seen.failures.lock().unwrap().is_empty();
        until("there are thousands of answers", || is_over().then_some(()));
    });
    assert_all_answered(&seen);
    assert_eq!(seen.words.lock().unwrap().len(), 3, "{release:?}", release = release.path(""));
    send(supervisor, Signal::SIGTERM);
}

fn install_http(release: &Release, name: &str, word: &str) {
    release.install(name, http::http(), "hello from worker ", &format!("{word} from worker "));
}

fn http_command(release: &Release, binary: &Path) -> Command {
    let mut command = clean_command(binary.to_str().expect("text"));
    command.current_dir(release.path("")).env("PREFORK_LISTEN", "127.0.0.1:0").env("PREFORK_WORKERS", "2");
    command
}

#[test]
fn no_request_fails_while_the_binary_is_replaced_by_rename() {
    let release = Release::new();
    install_http(&release, "http", "hello");
    let mut program = Session::start(&mut http_command(&release, Path::new("./http")));
    upgrade_under_load(&release, &program, program.pid(), |word| install_http(&release, "http", word));
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

#[test]
fn no_request_fails_while_a_link_to_the_release_is_flipped() {
    let release = Release::new();
    let deploy = |word: &str| {
        let version = format!("version-{word}-{}", fs::read_dir(release.path("")).expect("there").count());
        fs::create_dir(release.path(&version)).expect("a directory");
        install_http(&release, &format!("{version}/http"), word);
        release.link("current", &version);
    };
    deploy("hello");
    let mut command = http_command(&release, Path::new("./http"));
    command.current_dir(release.path("current")).env("PWD", release.path("current"));
    let mut program = Session::start(&mut command);
    upgrade_under_load(&release, &program, program.pid(), deploy);
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

#[test]
fn no_request_fails_while_pid_1_is_replaced() {
    let release = Release::new();
    install_http(&release, "http", "hello");
    let binary = http_command(&release, &release.path("http"));
    let mut command = skip_unless!(as_pid_1(&binary), "unshare(1) may not make a PID namespace");
    command.envs(binary.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut program = Session::start(&mut command);
    let supervisor = program.wait_for_children(1)[0];
    upgrade_under_load(&release, &program, supervisor, |word| install_http(&release, "http", word));
    assert_eq!(program.exit_code(), 0);
    program.wait_until_empty();
}

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
    // As a build is in which a field of what is handed over is called otherwise.
    let reshape = |pool: &Upgrading| other(pool, "hangups_ignored", "hangups_dropped");
    let build = |behaviour: &'static str| move |pool: &Upgrading| install(&pool.release, behaviour);
    let cases: [(Spoil<'_>, &str); 12] = [
        (&remove, "app cannot be run: No such file or directory"),
        (&forbid, "app cannot be run: Permission denied"),
        (&scramble, "app cannot be run: Exec format error (os error 8)"),
        (
            &reshape,
            "with status 2: environment variable PREFORK_UPGRADE: the binary that runs hands its workers over in format ",
        ),
        (&build("exits-at-once"), "with status 0, but has not read what it is to take over"),
        (&build("exits-with-3"), "with status 3: it said nothing"),
        (&build("fails-check"), "with status 1: preload failed: app.toml, line 3: no such colour"),
        (&build("wants-many"), "1000 are more than the 66 that the running pool has room for"),
        (&build("fails-later"), "but could not start: preload failed: the database is gone"),
        (&build("panics-later"), "it passed its rehearsal, but panicked at its start"),
        (&build("dies"), "its replacement, worker 0 (pid "),
        (&build("never-ready"), "its replacement, worker 0 (pid "),
    ];
    for (nth, (spoil, why)) in cases.into_iter().enumerate() {
        // Who is never ready is waited for.
        let patience = if nth == cases.len() - 1 { "5s" } else { "30s" };
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

#[test]
fn a_second_upgrade_waits_for_the_first_and_a_stop_ends_both() {
    let pool = start("serves-1");
    let workers = pool.program.children();
    pool.upgrade_to("waits");
    let rehearsal =
        until("the rehearsal runs", || pool.program.children().into_iter().find(|child| !workers.contains(child)));
    // What is rehearsed may be an older file than what is there now.
    pool.upgrade_to("serves-2");
    pool.program.stderr.wait_for("an upgrade is in progress; when it is over, the next begins");
    fs::write(pool.release.path("go"), "").expect("written");
    pool.wait_for_upgrade(1);
    assert!(!support::is_alive(rehearsal));
    assert_eq!((pool.ask().as_str(), pool.program.stderr.count("rehearsing the start of")), ("serves-2", 2));
    fs::remove_file(pool.release.path("go")).expect("it was there");
    let workers = pool.program.wait_for_children(2);
    pool.upgrade_to("waits");
    until("the rehearsal runs", || pool.program.children().into_iter().find(|child| !workers.contains(child)));
    pool.program.signal(Signal::SIGUSR2);
    pool.program.stderr.wait_for_nth("an upgrade is in progress; when it is over, the next begins", 2);
    pool.stop();
}

/// Also where the one between fails, and the binary before comes back and knows of it.
#[test]
fn the_newest_binary_runs_in_the_end_though_it_came_while_the_one_before_booted() {
    let pool = Upgrading::start_with("serves-1", |command| command.env("PREFORK_READY_TIMEOUT", "5s"));
    pool.upgrade_to("never-ready");
    pool.program.stderr.wait_for("to take the place of");
    pool.upgrade_to("serves-2");
    pool.program.stderr.wait_for("an upgrade is in progress; when it is over, the next begins");
    pool.wait_for_failure();
    pool.wait_for_upgrade(1);
    assert_eq!(pool.ask(), "serves-2");
    pool.stop();
}

#[test]
fn the_newest_binary_runs_in_the_end_though_it_came_while_the_one_before_replaced_workers() {
    let pool = start("serves-1");
    pool.upgrade_to("serves-2");
    pool.program.stderr.wait_for("upgraded: ");
    pool.upgrade_to("serves-3");
    pool.wait_for_upgrade(2);
    assert_eq!(pool.ask(), "serves-3");
    pool.stop();
}

#[test]
fn a_reload_that_was_asked_for_while_a_binary_booted_is_made_by_the_binary_before() {
    let pool = Upgrading::start_with("serves-1", |command| command.env("PREFORK_READY_TIMEOUT", "5s"));
    pool.upgrade_to("never-ready");
    pool.program.stderr.wait_for("to take the place of");
    pool.program.signal(Signal::SIGHUP);
    pool.program.stderr.wait_for("workers are being replaced already; a reload begins when that is done");
    pool.wait_for_failure();
    let line = pool.program.stderr.wait_for("reload done after");
    assert!(line.ends_with("2 workers were replaced"), "{line}");
    assert_eq!(pool.ask(), "serves-1");
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
fn signals_that_come_meanwhile_are_not_lost() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut pool = start("serves-1");
        pool.upgrade_to("serves-2");
        pool.program.stderr.wait_for("the rehearsal was good");
        pool.program.signal(signal);
        assert_eq!(pool.program.exit_code(), 0, "{:#?}", pool.program.stderr.all());
        pool.program.stderr.wait_for(&format!("stopped by {signal} from pid"));
        pool.program.wait_until_empty();
    }
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
    until("nobody listens there any more", || ask(extra).is_err().then_some(()));
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
fn what_was_handed_to_somebody_else_is_ignored() {
    for number in ["0", "7", "-1", "nonsense"] {
        let pool = Upgrading::start_with("serves-1", |command| command.env("PREFORK_UPGRADE", number));
        assert_eq!(pool.ask(), "serves-1");
        pool.stop();
    }
}

/// Nobody waits for what may never end, or takes away what somebody else is to read.
#[test]
fn a_pipe_under_the_number_of_what_is_handed_over_is_left_alone() {
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

/// A pool of root's with workers that are nobody, and who is given what of its directory.
struct Entrusted<'a> {
    /// What root does to the directory, the file or another path before the start.
    does: &'a dyn Fn(&Path),
    /// What the line says of it.
    says: &'a str,
}

const NOBODY: u32 = 65534;

/// A program that leaves a mark of who runs it, in the place of the binary.
fn put_in_place(directory: &Path) {
    let script = format!("#!/bin/sh\nid -u >> {}/ran-as\n", directory.display());
    // As the workers' user does it: with no right but to write there.
    let mut attacker = Command::new("setpriv");
    attacker.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "/bin/sh", "-c"]);
    attacker.arg("printf %s \"$1\" > app.new; chmod 755 app.new; mv -f app.new app").args(["sh", &script]);
    // Where it may not, nothing is there to be run.
    let _ = attacker.current_dir(directory).stderr(std::process::Stdio::null()).status();
}

#[test]
fn root_does_not_run_what_the_workers_user_may_have_put_in_place_of_the_binary() {
    if !nix::unistd::geteuid().is_root() {
        skip!("only root can have workers of another user");
    }
    let owned = |path: &Path| std::os::unix::fs::chown(path, Some(NOBODY), None).expect("root may");
    let grouped = |path: &Path| {
        std::os::unix::fs::chown(path, None, Some(NOBODY)).expect("root may");
        fs::set_permissions(path, Permissions::from_mode(0o775)).expect("root may");
    };
    let opened = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o757)).expect("root may");
    let owns_the_file = |path: &Path| owned(&path.join("app"));
    let opens_the_file = |path: &Path| opened(&path.join("app"));
    let safe = |_: &Path| {};
    let cases = [
        Entrusted { does: &owned, says: " belongs to this user: `chown root " },
        Entrusted { does: &grouped, says: "may be written by gid 65534, which workers have: `chmod g-w " },
        Entrusted { does: &opened, says: "(mode 757) may be written by every user: `chmod o-w " },
        Entrusted { does: &owns_the_file, says: "/app belongs to this user: `chown root " },
        Entrusted { does: &opens_the_file, says: "/app (mode 757) may be written by every user: `chmod o-w " },
        Entrusted { does: &safe, says: "" },
    ];
    for Entrusted { does, says } in cases {
        let release = Release::new();
        install(&release, "serves-1");
        let directory = release.path("srv");
        fs::create_dir(&directory).expect("a directory");
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).expect("root may");
        fs::rename(release.path("app"), directory.join("app")).expect("it is there");
        does(&directory);
        let mut command = clean_command("./app");
        command.current_dir(&directory).env("PWD", &directory).env("PREFORK_USER", "nobody");
        let mut program = Session::start(&mut command);
        program.stderr.wait_for("ready after");
        let warned =
            program.stderr.count("an upgrade (SIGUSR2) will be refused: uid 65534, which workers run as, may replace ");
        assert_eq!(warned, usize::from(!says.is_empty()), "{says:?}: {:#?}", program.stderr.all());
        put_in_place(&directory);
        program.signal(Signal::SIGUSR2);
        if says.is_empty() {
            program.stderr.wait_for("upgrade done after");
        } else {
            let line = program.stderr.wait_for("upgrade abandoned: uid 65534, which workers run as, may replace ");
            assert!(line.contains(says) && line.ends_with("; nothing has changed; SIGUSR2 tries again"), "{line}");
            assert_eq!(program.stderr.count("rehearsing"), 0);
        }
        assert!(!directory.join("ran-as").exists(), "root ran what nobody has made");
        program.stop();
        program.wait_until_empty();
    }
}

#[test]
fn a_place_that_the_path_or_the_loader_looks_at_first_is_one_where_the_binary_could_be() {
    if !nix::unistd::geteuid().is_root() {
        skip!("only root can have workers of another user");
    }
    let release = Release::new();
    install(&release, "serves-1");
    fs::create_dir(release.path("early")).expect("a directory");
    std::os::unix::fs::chown(release.path("early"), Some(NOBODY), None).expect("root may");
    let (first, early) = (release.path("").display().to_string(), release.path("early").display().to_string());
    for (path, library_path, user, says) in [
        (format!("{early}:{first}"), "", "nobody", Some("early/app: ")),
        (format!("{early}/not-there-yet:{first}"), "", "nobody", Some("early/not-there-yet/app: ")),
        (format!("{first}:{early}"), &*early, "nobody", Some("what LD_LIBRARY_PATH has loaded from ")),
        (format!("{first}:{early}"), "", "nobody", None),
        (format!("{early}:{first}"), &*early, "none", None),
    ] {
        let mut command = clean_command("/bin/sh");
        command.args(["-c", "exec app"]).env("PATH", format!("{path}:/usr/bin:/bin")).env("PREFORK_USER", user);
        if !library_path.is_empty() {
            command.env("LD_LIBRARY_PATH", library_path);
        }
        let mut program = Session::start(&mut command);
        program.stderr.wait_for("ready after");
        program.signal(Signal::SIGUSR2);
        match says {
            Some(says) => {
                let line = program.stderr.wait_for("upgrade abandoned: uid 65534, which workers run as, may replace ");
                assert!(line.contains(says) && line.contains("early belongs to this user"), "{line}");
            }
            None => drop(program.stderr.wait_for("upgrade done after")),
        }
        program.stop();
        program.wait_until_empty();
    }
}
