//! Workers of another user have no key, no capability and no other right of the supervisor.

use crate::accounts::Accounts;
use crate::support::before_exec::without_call;
use crate::support::lives::lives;
use crate::support::more_rights::{MoreRights, Rights};
use crate::support::session::Session;
use crate::support::{clean_command, fixture, line, status_of, words};
use crate::{became, only_root, skip, skip_unless, stop};

#[test]
fn a_worker_of_another_user_has_no_key_of_the_supervisor_s() {
    only_root!();
    let mut program = Session::start(fixture("runs-as").args(["65534", "65534", "attack"]));
    program.stdout.wait_for("attacks are over");
    assert_eq!(program.exit_code(), 0);
    if program.stdout.count("attack keys: there are none") > 0 {
        skip!("keyctl(2) is refused");
    }
    for (what, answer) in [
        ("search of the session keyring", "ENOKEY"),
        ("description of the key", "EACCES"),
        ("reading of the key", "EACCES"),
        ("request_key", "ENOKEY"),
    ] {
        let line = format!("attack {what}: {answer}");
        assert_eq!(program.stdout.count(&line), 1, "no {line:?} in {:#?}", program.stdout.all());
    }
}

#[test]
fn a_system_without_keys_or_with_a_filter_for_them_keeps_no_worker_from_starting() {
    only_root!();
    for error in [libc::ENOSYS, libc::EPERM, libc::EACCES] {
        let mut program = Session::start(without_call(&mut fixture("runs-as-nobody"), libc::SYS_keyctl, error));
        program.stdout.wait_for_nth("body task", 2);
        stop(&mut program);
    }
}

#[test]
fn a_worker_that_would_keep_the_supervisor_s_keys_does_not_run() {
    only_root!();
    let mut command = fixture("runs-as-nobody");
    command.env("PREFORK_MAX_RESTARTS", "1");
    let mut program = Session::start(without_call(&mut command, libc::SYS_keyctl, libc::EDQUOT));
    assert_eq!(program.exit_code(), 1);
    let line = program.stderr.wait_for("cannot become user nobody");
    assert!(line.contains("no room for a session keyring (sysctl kernel.keys.maxkeys)"), "{line}");
    assert_eq!(program.stdout.all(), [""; 0]);
}

#[test]
fn a_set_user_id_program_gives_a_worker_rights_unless_no_new_privs_is_set() {
    let program = match MoreRights::of(&fixture("shows-its-environment"), Rights::SetUserId) {
        Ok(program) => program,
        Err(why) => skip!("{why}"),
    };
    let spawn = format!("spawn={}", line(&program.program()));
    for (no_new_privs, says) in [("false", "AT_SECURE 1"), ("true", "AT_SECURE 0")] {
        let mut command = lives(["--workers=1", &spawn, "wait"]);
        command.env("PREFORK_USER", "nobody").env("PREFORK_NO_NEW_PRIVS", no_new_privs);
        let program = Session::start(&mut command);
        let line = program.stdout.wait_for("AT_SECURE");
        assert_eq!(line, says, "{no_new_privs}");
    }
}

#[test]
fn workers_gain_no_rights_and_the_supervisor_stays_as_it_is() {
    for (no_new_privs, says) in [("false", "0"), ("true", "1")] {
        let start = |mode| {
            let mut command = lives(["--workers=1", "wait"]);
            Session::start(command.env("PREFORK_NO_NEW_PRIVS", no_new_privs).env("PREFORK", mode))
        };
        let mut program = start("");
        program.stdout.wait_for("task 0");
        assert_eq!(status_of(program.children()[0], "NoNewPrivs"), says);
        assert_eq!(status_of(program.pid(), "NoNewPrivs"), "0");
        program.stop();

        let program = start("off");
        program.stdout.wait_for("task 0");
        assert_eq!(status_of(program.pid(), "NoNewPrivs"), says);
        assert_eq!(program.stderr.count("not used"), 0, "{:#?}", program.stderr.all());
    }
}

#[test]
fn capabilities_are_gone_where_the_user_stays_the_same() {
    only_root!();
    let accounts = Accounts::new("same-user");
    let start = |arguments: [&str; 2]| {
        let mut command = clean_command("setpriv");
        command.args(["--reuid", "12345", "--regid", "12345", "--clear-groups", "--inh-caps", "+net_admin"]);
        command.args(["--ambient-caps", "+net_admin"]).args(words(&fixture("runs-as")));
        accounts.try_start(command.args(arguments)).ok()
    };
    for arguments in [["12345", "none"], ["12345", "12345"]] {
        let mut program = skip_unless!(start(arguments), "mount(2) is refused, or no setpriv(1)");
        let line = program.stdout.wait_for("body task 1 ");
        assert!(line.ends_with(&became(12345, 12345, "")), "{line}");
        stop(&mut program);
    }
    // A group alone changes the group alone, and the line says so.
    let mut program = skip_unless!(start(["none", "12345"]), "mount(2) is refused");
    program.stderr.wait_for("workers run as uid 12345, gid 12345, with the capabilities of this process");
    assert!(program.stdout.wait_for("body task 1 ").contains("cap 0000000000001000"));
    stop(&mut program);
}

#[test]
fn rights_without_being_root_suffice_and_are_gone_in_the_worker() {
    only_root!();
    let rights = "+kill,+setgid,+setuid";
    let accounts = Accounts::new("capabilities");
    let mut command = clean_command("setpriv");
    command.args(["--reuid", "12345", "--regid", "12345", "--clear-groups", "--inh-caps", rights]);
    command.args(["--ambient-caps", rights]).args(words(&fixture("runs-as"))).args(["app", "none"]);
    let mut program = skip_unless!(accounts.try_start(&mut command).ok(), "mount(2) is refused, or no setpriv(1)");
    let line = program.stdout.wait_for("body task 1 ");
    assert!(line.ends_with(&became(4711, 4712, "4712 4713 4714")), "{line}");
    program.stdout.wait_for_nth("body task 0 ", 2);
    stop(&mut program);
}
