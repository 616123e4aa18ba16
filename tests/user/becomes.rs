//! Workers become the user and the group that an option names, and say so.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};

use nix::unistd::{Gid, setgroups};

use crate::accounts::Accounts;
use crate::support::before_exec::{before_exec, without_call};
use crate::support::session::Session;
use crate::support::{Program, Signal, fixture, send, status_of, wait_until_gone};
use crate::{NOBODY, became, only_root, skip_unless, stop};

#[test]
fn workers_become_the_user_of_the_attribute() {
    only_root!();
    let accounts = Accounts::new("attribute");
    let mut program = skip_unless!(accounts.start(&mut fixture("runs-as-nobody")), "mount(2) is refused");
    let nobody = became(NOBODY, NOBODY, "65534");
    for place in ["hook", "body"] {
        for task_id in 0..2 {
            let line = program.stdout.wait_for(&format!("{place} task {task_id} "));
            assert!(line.ends_with(&nobody), "{line}");
        }
    }
    program.stderr.wait_for("workers run as user nobody (uid 65534), group nogroup (gid 65534)");
    for worker in program.wait_for_children(2) {
        assert_eq!(status_of(worker, "Uid"), "65534\t65534\t65534\t65534");
        assert_eq!(status_of(worker, "Gid"), "65534\t65534\t65534\t65534");
        assert_eq!(status_of(worker, "Groups"), "65534");
    }
    assert_eq!(status_of(program.pid(), "Uid"), "0\t0\t0\t0");

    // A replacement is no exception.
    send(program.children()[0], Signal::SIGKILL);
    let line = program.stdout.wait_for_nth("body task ", 3);
    assert!(line.ends_with(&nobody), "{line}");
    stop(&mut program);
}

#[test]
fn workers_become_the_user_and_group_of_the_environment() {
    only_root!();
    let accounts = Accounts::new("environment");
    for (user, group, says) in [
        ("app", "", became(4711, 4712, "4712 4713 4714")),
        ("4711", "", became(4711, 4712, "4712 4713 4714")),
        ("app", "other", became(4711, 4715, "4713 4714 4715")),
        ("", "4715", became(NOBODY, 4715, "4715")),
        ("12345", "12346", became(12345, 12346, "12346")),
        ("none", "other", "uid 0 0 0 0 gid 4715 4715 4715 4715 groups [4715]".to_owned()),
        ("none", "none", "uid 0 0 0 0 gid 0 0 0 0 ".to_owned()),
        ("root", "", "uid 0 0 0 0 gid 0 0 0 0 groups [0]".to_owned()),
    ] {
        let mut command = fixture("runs-as-nobody");
        command.env("PREFORK_USER", user).env("PREFORK_GROUP", group).env("PREFORK_WORKERS", "1");
        let mut program = skip_unless!(accounts.start(&mut command), "mount(2) is refused");
        let line = program.stdout.wait_for("body task 0 ");
        assert!(line.contains(&says), "{user:?} {group:?}: {line}, not {says}");
        stop(&mut program);
    }
}

#[test]
fn workers_become_the_user_and_group_of_the_builder_and_talk_to_the_supervisor() {
    only_root!();
    let accounts = Accounts::new("builder");
    let mut command = fixture("runs-as");
    let mut program = skip_unless!(accounts.start(command.args(["app", "other"])), "mount(2) is refused");
    program.stderr.wait_for("workers run as user app (uid 4711), group other (gid 4715)");
    // The wake pipe works: ready(), then recycle().
    program.stderr.wait_for("all 2 workers are ready");
    program.stderr.wait_for("to take the place of pid");
    let line = program.stdout.wait_for_nth("body task 0 ", 2);
    assert!(line.ends_with(&became(4711, 4715, "4713 4714 4715")), "{line}");
    program.stderr.wait_for(", replaced");
    let workers = program.wait_for_children(2);
    stop(&mut program);
    wait_until_gone(&workers);
    // The scoreboard is shared: heartbeat().
    program.stdout.wait_for("sees beats [1, 1]");
}

#[test]
fn the_line_says_who_workers_are_with_all_their_groups() {
    only_root!();
    let accounts = Accounts::new("line");
    for (user, group, line) in [
        (
            "app",
            "",
            "user app (uid 4711), group app (gid 4712), supplementary groups extra (gid 4713) and more (gid 4714)",
        ),
        ("nobody", "", "user nobody (uid 65534), group nogroup (gid 65534)"),
        ("nobody", "other", "user nobody (uid 65534), group other (gid 4715)"),
        ("none", "other", "user root (uid 0), group other (gid 4715)"),
        ("12345", "12346", "uid 12345, gid 12346"),
    ] {
        let mut command = fixture("runs-as-nobody");
        command.env("PREFORK_USER", user).env("PREFORK_GROUP", group).env("PREFORK", "check");
        let mut program = skip_unless!(accounts.start(&mut command), "mount(2) is refused");
        assert_eq!(program.exit_code(), 0);
        assert_eq!(program.stderr.wait_for("workers run as "), format!("prefork: workers run as {line}"));
    }
}

#[test]
fn workers_that_stay_root_against_the_code_give_one_warning() {
    only_root!();
    for (user, group, warning) in [
        ("", "", None),
        ("none", "", Some("workers stay root: PREFORK_USER=none in the environment overrules user = \"nobody\"")),
        ("root", "", Some("workers stay root: PREFORK_USER=root in the environment overrules user = \"nobody\"")),
        ("none", "65534", Some("workers stay root: PREFORK_USER=none in the environment")),
        ("65534", "none", None),
        ("12345", "0", Some("workers stay in the group of root: PREFORK_GROUP=0 in the environment overrules group")),
        (
            "none",
            "none",
            Some("PREFORK_USER=none and PREFORK_GROUP=none in the environment overrules user = \"nobody\" and group"),
        ),
    ] {
        for mode in ["", "check", "off"] {
            let mut command = fixture("runs-as");
            command.args(["nobody", if group.is_empty() { "none" } else { "65534" }]);
            command.env("PREFORK_USER", user).env("PREFORK_GROUP", group).env("PREFORK", mode);
            let mut program = Session::start(&mut command);
            if mode != "check" {
                program.stdout.wait_for("body task 0 ");
                program.signal(Signal::SIGTERM);
            }
            assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
            assert_eq!(
                program.stderr.count("overrules"),
                usize::from(warning.is_some()),
                "{user:?} {group:?} {mode:?}"
            );
            warning.map(|warning| program.stderr.wait_for(warning));
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_was_only_told_that_it_became_another_ends() {
    only_root!();
    for (call, says) in [
        (libc::SYS_setgroups, "setgroups(2) failed: afterwards the process has the supplementary group"),
        (libc::SYS_setresgid, "setresgid(2) failed: afterwards the process has gid 0"),
        (libc::SYS_setresuid, "setresuid(2) failed: afterwards the process has uid 0"),
    ] {
        let mut command = fixture("runs-as-nobody");
        let groups = [4, 27].map(Gid::from_raw);
        before_exec(command.env("PREFORK_MAX_RESTARTS", "0"), move || Ok(setgroups(&groups)?));
        let mut program = Session::start(without_call(&mut command, call, 0));
        assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
        program.stderr.wait_for(says);
        assert_eq!(program.stdout.all(), [""; 0], "nothing of the program's own ran");
    }
}

#[test]
fn prefork_off_drops_the_rights_and_check_only_looks() {
    only_root!();
    let mut program = Session::start(fixture("runs-as-nobody").env("PREFORK", "off"));
    let line = program.stdout.wait_for(&format!("body task 0 pid {} ", program.pid()));
    assert!(line.ends_with("back Err(EPERM) Err(EPERM)") && line.contains("uid 65534 65534 65534 65534 "), "{line}");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);

    let mut program = Program::start(fixture("runs-as-nobody").env("PREFORK", "check"));
    assert_eq!(program.exit_code(), 0);
    program.stderr.wait_for("PREFORK=check: all is well");
    assert_eq!(program.stdout.all(), [""; 0]);
}

#[test]
fn a_port_of_root_s_is_served_by_the_user_nobody() {
    only_root!();
    // Another one in each process, so that another run of this test does not take it meanwhile.
    let first = 600 + (std::process::id() % 400) as u16;
    let port = (first..1024).find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    let port = skip_unless!(port, "no port below 1024 is free");
    let mut command = fixture("listens");
    let mut program = Session::start(
        command.arg("one").env("PREFORK_LISTEN", format!("127.0.0.1:{port}")).env("PREFORK_USER", "nobody"),
    );
    program.stdout.wait_for_nth("serves", 3);
    for worker in program.wait_for_children(3) {
        assert_eq!(status_of(worker, "Uid"), "65534\t65534\t65534\t65534");
    }
    let mut answer = String::new();
    let connection = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    BufReader::new(connection).read_line(&mut answer).expect("an answer");
    assert!(["0\n", "1\n", "2\n"].contains(&answer.as_str()), "{answer}");
    stop(&mut program);
}

#[test]
fn looking_a_user_up_leaves_no_descriptor_in_the_workers() {
    only_root!();
    let descriptors = |user: &str| {
        let mut command = fixture("lists-descriptors");
        let program = Session::start(command.env("PREFORK_WORKERS", "1").env("PREFORK_USER", user));
        program.stdout.wait_for("task 0: ")
    };
    assert_eq!(descriptors("nobody"), descriptors("none"));
}
