//! Users and groups that workers cannot become are refused before the first fork.

use std::io;
use std::process::{Command, Stdio};

use crate::accounts::Accounts;
use crate::support::before_exec::before_exec;
use crate::support::session::Session;
use crate::support::{Program, clean_command, fixture, until, words};
use crate::{NOBODY, became, only_root, skip, skip_unless, stop};

/// Exit status 2, a last line with all these parts, and no fork.
fn is_refused(program: &mut Program, parts: &[&str]) {
    assert_eq!(program.exit_code(), 2, "{parts:?}: {:#?}", program.stderr.all());
    let last = program.stderr.all().pop().expect("a line");
    for part in parts {
        assert!(last.contains(part), "{part:?} is not in {last}");
    }
    assert_eq!(program.stdout.all(), [""; 0]);
}

#[test]
fn names_that_no_user_and_no_group_has_are_refused() {
    for [user, group, says] in [
        ["no-such-user", "none", "user: there is no user \"no-such-user\" on this system"],
        ["none", "no-such-group", "group: there is no group \"no-such-group\" on this system"],
        ["4000000000", "none", "user: user 4000000000 has no entry in the system's list of users"],
        ["a b", "none", "user: \"a b\" has a space"],
        ["none", "", "group: the name is empty"],
    ] {
        is_refused(&mut Program::start(fixture("runs-as").args([user, group])), &[says]);
    }
    for (variable, value, says) in [
        ("PREFORK_USER", "no-such-user", "there is no user \"no-such-user\""),
        ("PREFORK_GROUP", "no-such-group", "there is no group \"no-such-group\""),
        ("PREFORK_USER", "nobody:nogroup", "two options"),
        ("PREFORK_GROUP", "4294967295", "too large"),
    ] {
        for mode in ["", "check", "off"] {
            let mut command = fixture("runs-as");
            command.args(["none", "none"]).env(variable, value).env("PREFORK", mode);
            is_refused(&mut Program::start(&mut command), &[&format!("environment variable {variable}: "), says]);
        }
    }
}

#[test]
fn user_and_group_take_strings_and_options() {
    only_root!();
    for option in ["user", "group"] {
        for value in ["str", "String", "&String", "Option", "None", "none"] {
            let mut command = fixture("takes-any-value");
            let mut program =
                Program::start(command.args([&format!("{option} {value}"), "finish"]).env("PREFORK", "check"));
            assert_eq!(program.exit_code(), 0, "{option} {value}: {:#?}", program.stderr.all());
            let named = usize::from(!value.to_lowercase().contains("none"));
            assert_eq!(program.stderr.count("workers run as "), named, "{option} {value}");
        }
        let mut command = fixture("takes-any-value");
        let mut program = Program::start(command.args([&format!("{option} unknown"), "finish"]));
        is_refused(&mut program, &[&format!("{option}: there is no {option} \"no-such-{option}\"")]);
    }
}

#[test]
fn a_program_that_is_not_root_may_ask_for_its_own_user_and_no_other() {
    only_root!();
    let accounts = Accounts::new("not-root");
    let as_nobody = |user: &str, group: &str, mode: &str| {
        let mut command = clean_command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(words(&fixture("runs-as"))).args([user, group]).env("PREFORK", mode);
        accounts.try_start(&mut command).ok()
    };
    for mode in ["", "check", "off"] {
        let mut program = skip_unless!(as_nobody("root", "none", mode), "mount(2) is refused, or no setpriv(1)");
        let lacks = "may not become user root (uid 0), group root (gid 0)";
        is_refused(&mut program, &["user: ", lacks, "lacks CAP_KILL, CAP_SETGID, CAP_SETUID"]);
        let mut program = skip_unless!(as_nobody("none", "other", mode), "mount(2) is refused");
        is_refused(
            &mut program,
            &["group: ", "may not become user nobody (uid 65534), group other (gid 4715)", "lacks CAP_SETGID"],
        );
        let mut program = skip_unless!(as_nobody("nobody", "extra", mode), "mount(2) is refused");
        is_refused(&mut program, &["may not become user nobody", "lacks CAP_SETGID"]);
    }
    for (user, group) in [("nobody", "none"), ("65534", "nogroup"), ("none", "nogroup")] {
        let mut command = as_nobody_in("--clear-groups");
        let mut program =
            skip_unless!(accounts.try_start(command.args([user, group])).ok(), "mount(2) is refused, or no setpriv(1)");
        let line = program.stdout.wait_for("body task 1 ");
        assert!(line.ends_with(&became(NOBODY, NOBODY, "")), "{line}");
        stop(&mut program);
    }
}

/// The fixture, as nobody with these groups, which an option of setpriv(1) says.
fn as_nobody_in(groups: &str) -> Command {
    let mut command = clean_command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", groups]).args(words(&fixture("runs-as")));
    command
}

#[test]
fn groups_that_workers_would_keep_or_lack_are_refused() {
    only_root!();
    let accounts = Accounts::new("groups");
    for (groups, user, says) in [
        ("--groups=0,4713", "nobody", "would keep the supplementary groups root (gid 0) and extra (gid 4713): "),
        ("--groups=0,4713", "65534", "would keep the supplementary groups root (gid 0) and extra (gid 4713): "),
        ("--groups=4714", "none", "group nogroup (gid 65534) would keep the supplementary group more (gid 4714): "),
    ] {
        for mode in ["", "check", "off"] {
            let mut command = as_nobody_in(groups);
            command.args([user, "nogroup"]).env("PREFORK", mode);
            let mut program =
                skip_unless!(accounts.try_start(&mut command).ok(), "mount(2) is refused, or no setpriv(1)");
            is_refused(&mut program, &[says, "lacks CAP_SETGID", "setpriv --init-groups", "PREFORK_USER=none"]);
        }
    }
    let mut command = clean_command("setpriv");
    command.args(["--reuid", "4711", "--regid", "4712", "--groups", "4713,4715"]);
    command.args(words(&fixture("runs-as"))).args(["app", "none"]);
    let mut program = skip_unless!(accounts.try_start(&mut command).ok(), "mount(2) is refused");
    let differences = "would keep the supplementary group other (gid 4715) and would lack the supplementary group more";
    is_refused(&mut program, &["user: ", differences]);
    // With the groups of the user, in whatever order, nothing is wrong, and with no option either.
    for (groups, user) in [("--groups=4714,4713", "app"), ("--groups=4713", "none")] {
        let mut command = clean_command("setpriv");
        command.args(["--reuid", "4711", "--regid", "4712", groups]).args(words(&fixture("runs-as")));
        let mut program = skip_unless!(accounts.try_start(command.args([user, "none"])).ok(), "mount(2) is refused");
        program.stdout.wait_for("body task 1 ");
        stop(&mut program);
    }
}

#[test]
fn groups_that_a_user_namespace_fixes_are_refused() {
    only_root!();
    for (groups, is_fine) in [("--clear-groups", true), ("--groups=4,27", false)] {
        let mut command = clean_command("setpriv");
        command.args([groups, "unshare", "--user", "--map-root-user"]).args(words(&fixture("runs-as")));
        let mut program =
            skip_unless!(Session::try_start(command.args(["0", "0"]), Stdio::piped()).ok(), "no setpriv(1)");
        if is_fine {
            until("it starts or says why not", || {
                (program.stdout.count("body task 1 ") + program.stderr.count("unshare: ") > 0).then_some(())
            });
            if program.stderr.count("unshare: ") > 0 {
                skip!("user namespaces are refused");
            }
            stop(&mut program);
        } else {
            is_refused(&mut program, &["would keep the supplementary group", "/proc/self/setgroups says deny"]);
        }
    }
}

#[test]
fn root_that_could_not_signal_its_workers_is_refused() {
    only_root!();
    const CAP_KILL: libc::c_ulong = 5;
    let mut command = fixture("runs-as");
    before_exec(command.args(["65534", "65534"]), || {
        // SAFETY: prctl(2) with PR_CAPBSET_DROP takes a number.
        match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    });
    is_refused(&mut Program::start(&mut command), &["user: ", "lacks CAP_KILL;"]);
}

#[test]
fn a_user_namespace_without_the_user_is_refused() {
    only_root!();
    let mut command = clean_command("unshare");
    command.args(["--user", "--map-root-user"]).args(words(&fixture("runs-as")));
    let mut program =
        skip_unless!(Program::try_start(command.args(["65534", "65534"]), Stdio::piped()).ok(), "no unshare(1)");
    if program.exit_code() == 1 && program.stderr.count("unshare: ") > 0 {
        skip!("user namespaces are refused");
    }
    is_refused(&mut program, &["user: this process cannot become", "user namespace"]);
}
