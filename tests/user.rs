//! The options `user` and `group`: workers are who they were told to be, for good, and all else holds as before.

mod support;
use support::before_exec::{before_exec, without_call};
use support::lives::lives;
use support::more_rights::{MoreRights, Rights};
use support::session::Session;
use support::{
    Program, Signal, fixture, line, moments, own_path, send, stat_of, status_of, until, wait_until_gone, words,
};

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, geteuid, setgroups};

const NOBODY: u32 = 65534;

const PASSWD: &str = "\
root:x:0:0::/root:/bin/sh
app:x:4711:4712::/:/bin/sh
nobody:x:65534:65534::/:/bin/sh
";
const GROUP: &str = "\
root:x:0:
app:x:4712:
extra:x:4713:nobodyelse,app
more:x:4714:app
other:x:4715:
nogroup:x:65534:
";

macro_rules! only_root {
    () => {
        if !geteuid().is_root() {
            skip!("only root can become another user");
        }
    };
}

/// Files in a folder of their own, which goes away with this.
struct Accounts(PathBuf);

impl Accounts {
    fn new(name: &str) -> Accounts {
        let folder = own_path(&format!("user-{name}"));
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("passwd"), PASSWD).expect("a file");
        fs::write(folder.join("group"), GROUP).expect("a file");
        Accounts(folder)
    }

    /// Starts a program that finds these users and groups on its system.
    fn start(&self, command: &mut Command) -> Option<Session> {
        self.try_start(command).map_err(|error| assert_eq!(error.kind(), io::ErrorKind::PermissionDenied)).ok()
    }

    fn try_start(&self, command: &mut Command) -> io::Result<Session> {
        let [passwd, group] = ["passwd", "group"].map(|file| self.0.join(file));
        before_exec(command, move || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
            mount(Some(&passwd), "/etc/passwd", None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(mount(Some(&group), "/etc/group", None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
        });
        Session::try_start(command, Stdio::piped())
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a worker says of itself when it has become another user and there is no way back.
fn became(uid: u32, gid: u32, groups: &str) -> String {
    format!(
        "uid {uid} {uid} {uid} {uid} gid {gid} {gid} {gid} {gid} groups [{groups}] cap 0000000000000000 \
         back Err(EPERM) Err(EPERM)"
    )
}

fn stop(program: &mut Session) {
    program.stop();
    assert_eq!(program.stderr.count("had to be killed"), 0);
    program.wait_until_empty();
}

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
    // The bell is heard: ready(), then recycle().
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

/// What its session and group are the leader of, the supervisor ends as a whole.
#[test]
fn workers_of_another_user_lead_sessions_and_others_groups() {
    only_root!();
    for (user, has_session) in [("none", false), ("nobody", true)] {
        let mut program = Session::start(fixture("runs-as-nobody").env("PREFORK_USER", user));
        program.stdout.wait_for_nth("body task", 2);
        for worker in program.wait_for_children(2) {
            let stat = stat_of(worker).expect("it is alive");
            let (group, session) = (&stat[2], &stat[3]);
            assert_eq!(*group, worker.to_string(), "{user}");
            assert_eq!(*session == worker.to_string(), has_session, "{user}");
        }
        stop(&mut program);
    }
}

#[test]
fn no_worker_of_another_user_outlives_its_supervisor() {
    only_root!();
    let program = Session::start(&mut fixture("runs-as-nobody"));
    program.stdout.wait_for_nth("body", 2);
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
}

#[test]
fn no_worker_of_another_user_outlives_its_supervisor_at_whatever_moment_of_its_start() {
    only_root!();
    for moment in moments().take(40) {
        let mut command = fixture("ignores-term");
        let program = Session::start(command.env("PREFORK_WORKERS", "12").env("PREFORK_USER", "nobody"));
        std::thread::sleep(Duration::from_micros(moment % 8000));
        program.signal(Signal::SIGKILL);
        program.wait_until_empty();
    }
}

/// Kills the supervisor and waits until the worker has another parent.
fn orphan(program: &Program, worker: i32) {
    program.signal(Signal::SIGKILL);
    let supervisor = program.pid().to_string();
    until("the worker has another parent", || stat_of(worker).is_none_or(|stat| stat[1] != supervisor).then_some(()));
}

#[test]
fn a_worker_that_changes_its_user_itself_shares_its_supervisor_s_death_after_rearm() {
    only_root!();
    let program = Session::start(fixture("changes-its-user").arg("rearm"));
    program.stdout.wait_for("body task 0 ");
    program.signal(Signal::SIGKILL);
    program.wait_until_empty();
    assert_eq!(program.stdout.count("told to stop"), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_changes_its_user_itself_outlives_its_supervisor_without_rearm() {
    only_root!();
    let program = Session::start(fixture("changes-its-user").arg("no-rearm"));
    program.stdout.wait_for("body task 0 ");
    let worker = program.wait_for_children(1)[0];
    orphan(&program, worker);
    // Who has a SIGKILL pending says nothing any more.
    send(worker, Signal::SIGTERM);
    program.stdout.wait_for("told to stop");
    program.wait_until_empty();
}

#[test]
#[cfg(target_os = "linux")]
fn rearm_ends_a_worker_whose_supervisor_is_gone() {
    only_root!();
    let program = Session::start(fixture("changes-its-user").arg("rearm-when-told"));
    program.stdout.wait_for("waits");
    let worker = program.wait_for_children(1)[0];
    orphan(&program, worker);
    send(worker, Signal::SIGTERM);
    program.wait_until_empty();
    program.stderr.wait_for(&format!("pid {worker} ends: its supervisor, pid {}, is gone", program.pid()));
    assert_eq!(program.stdout.count("still there"), 0);
}

#[test]
fn rearm_refuses_a_process_that_a_worker_made() {
    only_root!();
    let mut program = Session::start(fixture("changes-its-user").arg("rearm-in-a-child"));
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("only a worker shares its supervisor's death");
}

#[test]
fn rearm_does_nothing_where_nobody_supervises() {
    only_root!();
    let mut program = Session::start(fixture("changes-its-user").arg("rearm").env("PREFORK", "off"));
    program.stdout.wait_for("body task 0 ");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}

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
fn names_that_nobody_has_are_refused() {
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
fn who_is_not_root_may_ask_for_what_it_is_and_nothing_else() {
    only_root!();
    let accounts = Accounts::new("not-root");
    let as_nobody = |user: &str, group: &str, mode: &str| {
        let mut command = support::clean_command("setpriv");
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
    let mut command = support::clean_command("setpriv");
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
    let mut command = support::clean_command("setpriv");
    command.args(["--reuid", "4711", "--regid", "4712", "--groups", "4713,4715"]);
    command.args(words(&fixture("runs-as"))).args(["app", "none"]);
    let mut program = skip_unless!(accounts.try_start(&mut command).ok(), "mount(2) is refused");
    let differences = "would keep the supplementary group other (gid 4715) and would lack the supplementary group more";
    is_refused(&mut program, &["user: ", differences]);
    // With the groups of the user, in whatever order, nothing is wrong, and with no option either.
    for (groups, user) in [("--groups=4714,4713", "app"), ("--groups=4713", "none")] {
        let mut command = support::clean_command("setpriv");
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
        let mut command = support::clean_command("setpriv");
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
fn capabilities_are_gone_where_the_user_stays_the_same() {
    only_root!();
    let accounts = Accounts::new("same-user");
    let start = |arguments: [&str; 2]| {
        let mut command = support::clean_command("setpriv");
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
fn rights_without_being_root_suffice_and_are_gone_in_the_worker() {
    only_root!();
    let rights = "+kill,+setgid,+setuid";
    let accounts = Accounts::new("capabilities");
    let mut command = support::clean_command("setpriv");
    command.args(["--reuid", "12345", "--regid", "12345", "--clear-groups", "--inh-caps", rights]);
    command.args(["--ambient-caps", rights]).args(words(&fixture("runs-as"))).args(["app", "none"]);
    let mut program = skip_unless!(accounts.try_start(&mut command).ok(), "mount(2) is refused, or no setpriv(1)");
    let line = program.stdout.wait_for("body task 1 ");
    assert!(line.ends_with(&became(4711, 4712, "4712 4713 4714")), "{line}");
    program.stdout.wait_for_nth("body task 0 ", 2);
    stop(&mut program);
}

#[test]
fn a_user_namespace_without_the_user_is_refused() {
    only_root!();
    let mut command = support::clean_command("unshare");
    command.args(["--user", "--map-root-user"]).args(words(&fixture("runs-as")));
    let mut program =
        skip_unless!(Program::try_start(command.args(["65534", "65534"]), Stdio::piped()).ok(), "no unshare(1)");
    if program.exit_code() == 1 && program.stderr.count("unshare: ") > 0 {
        skip!("user namespaces are refused");
    }
    is_refused(&mut program, &["user: this process cannot become", "user namespace"]);
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
fn a_port_of_root_s_is_served_by_nobody() {
    only_root!();
    // Another one in each process, so that whoever runs the same test does not take it meanwhile.
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
