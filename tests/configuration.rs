//! Each option takes what its documentation says, in the code and from the environment.

mod support;
use support::activation::own_address;
use support::before_exec::before_exec;
use support::more_rights::{MoreRights, Rights};
use support::pool::Files;
use support::session::Session;
use support::{Program, Signal, fixture, send};

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

/// A value given in one of the ways that an option takes, what the workers do, and the line that shows that it was
/// taken. Where the workers do not finish, that line is waited for and the pool is stopped.
fn shows(case: &str, variables: &[(&str, &str)], body: &str, line: &str) {
    let mut command = fixture("takes-any-value");
    let mut program = Program::start(command.args([case, body]).envs(variables.iter().copied()));
    if body == "wait" {
        program.stdout.wait_for("task 0 pid ");
        program.signal(Signal::SIGTERM);
    }
    if body == "fail" {
        program.stderr.wait_for(line);
        program.signal(Signal::SIGTERM);
    }
    program.wait();
    assert!(program.stderr.count(line) > 0, "{case} {variables:?}: {line:?} is not in {:#?}", program.stderr.all());
}

#[test]
fn workers_takes_a_usize_a_nonzero_or_a_string() {
    for case in ["3_usize", "NonZeroUsize", "str", "String", "&String"] {
        shows(&format!("workers {case}"), &[], "finish", "starting 3 workers: workers = 3");
    }
    let auto = prefork_rt::cpu_count();
    shows("workers auto", &[], "finish", &format!("starting {auto} worker"));
    shows("workers 0", &[], "finish", &format!("starting {auto} worker"));
}

#[test]
fn max_restarts_takes_a_usize_or_a_string() {
    for case in ["1_usize", "str", "String"] {
        shows(&format!("max_restarts {case}"), &[], "fail", "giving up: 1 of 1 restarts are used");
    }
    shows("max_restarts unlimited", &[], "fail", "restarting (3/unlimited)");
    shows("backoff str", &[], "fail", "restarting (1/100)");
}

#[test]
fn graceful_timeout_takes_a_duration_or_a_string() {
    for case in ["Duration", "str", "String"] {
        shows(&format!("graceful_timeout {case}"), &[], "wait", "stopping 1 worker, at most 7s");
    }
    shows("backoff str", &[], "wait", "stopping 1 worker, at most 25s");
}

#[test]
fn backoff_takes_a_duration_a_range_or_a_string() {
    for case in ["Duration", "str", "String", "Range", "RangeInclusive"] {
        shows(&format!("backoff {case}"), &[], "fail", "restarting in 20m00s (2/100)");
    }
    // The default, 100 ms and up to a quarter more.
    shows("workers 3_usize", &[("PREFORK_WORKERS", "1")], "fail", "restarting in 1");
}

#[test]
fn listen_takes_addresses_strings_and_lists_of_either() {
    for case in ["SocketAddr", "str", "String", "Vec of String"] {
        listens_on(1, case);
    }
    for case in ["two in a str", "array of str", "slice", "Vec"] {
        listens_on(2, case);
    }
    listens_on(0, "none");
}

fn listens_on(addresses: usize, case: &str) {
    let mut program = Program::start(fixture("takes-any-value").args([&format!("listen {case}"), "finish"]));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stderr.count("listening on 127.0.0.1:"), addresses, "{case}");
}

/// Accepted, without a word about it: what the value does is tested where it does it.
fn is_accepted(command: &mut std::process::Command) {
    let mut program = Program::start(command.env("PREFORK", "check"));
    assert_eq!(program.exit_code(), 0, "{command:?}: {:#?}", program.stderr.all());
    program.stderr.wait_for("PREFORK=check: all is well");
    assert_eq!(program.stderr.count("PREFORK_"), 0, "{command:?}: {:#?}", program.stderr.all());
}

#[test]
fn the_options_of_a_worker_s_life_take_values_of_several_types() {
    let durations = ["Duration", "Option", "None", "str", "String", "&String", "none"];
    let sizes = ["literal", "u64", "Option", "None", "str", "String", "&String", "bytes", "none"];
    for (option, values) in [
        ("restart_window", &durations[..]),
        ("ready_timeout", &durations),
        ("heartbeat_timeout", &durations),
        ("max_lifetime", &durations),
        ("max_memory", &sizes),
        ("restart", &["Restart", "str", "String", "&String"]),
        ("reload", &["Reload", "str", "String", "&String"]),
        ("reuse_port", &["true", "false"]),
        ("no_new_privs", &["true", "false"]),
        ("umask", &["str", "String", "&String", "Option", "None", "none"]),
        ("user", &["None", "none"]),
        ("group", &["None", "none"]),
    ] {
        for value in values {
            is_accepted(fixture("takes-any-value").args([&format!("{option} {value}"), "finish"]));
        }
    }
}

#[test]
fn the_options_of_a_worker_s_life_are_taken_from_the_environment() {
    for (variable, values) in [
        ("PREFORK_RESTART_WINDOW", &["10m", "none"][..]),
        ("PREFORK_RESTART", &["on-failure", "always"]),
        ("PREFORK_HEARTBEAT_TIMEOUT", &["100ms", "500h", "none"]),
        ("PREFORK_MAX_LIFETIME", &["1ms", "none"]),
        ("PREFORK_MAX_MEMORY", &["512MiB", "2GiB", "1048576", "none"]),
        ("PREFORK_RELOAD", &["overlap", "exclusive"]),
        ("PREFORK_REUSE_PORT", &["true", "false"]),
        ("PREFORK_NO_NEW_PRIVS", &["true"]),
        ("PREFORK_UMASK", &["027", "0o22", "none"]),
        ("PREFORK_USER", &["none"]),
        ("PREFORK_GROUP", &["none"]),
    ] {
        for value in values {
            for case in ["nothing", "everything"] {
                is_accepted(fixture("takes-any-value").args([case, "finish"]).env(variable, value));
            }
        }
    }
    is_accepted(fixture("takes-any-value").args(["nothing", "finish"]).env("PREFORK_NO_NEW_PRIVS", "false"));
}

#[test]
fn a_protection_that_the_environment_takes_back_is_a_warning() {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK_NO_NEW_PRIVS", "false").env("PREFORK", "check");
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    program.stderr.wait_for("PREFORK_NO_NEW_PRIVS=false in the environment overrules no_new_privs = true in the code");
}

#[test]
fn the_environment_changes_a_ready_timeout_but_introduces_none() {
    for value in ["10s", "none"] {
        let mut command = fixture("takes-any-value");
        is_accepted(command.args(["ready_timeout str", "finish"]).env("PREFORK_READY_TIMEOUT", value));
    }
    for case in ["nothing", "ready_timeout None"] {
        let mut command = fixture("takes-any-value");
        let mut program = Program::start(
            command.args([case, "finish"]).env("PREFORK_READY_TIMEOUT", "10s").env("PREFORK_WORKERS", "1"),
        );
        assert_eq!(program.exit_code(), 0);
        program.stderr.wait_for("PREFORK_READY_TIMEOUT is ignored: this program does not announce readiness");
        assert_eq!(program.stderr.count("PREFORK_READY_TIMEOUT"), 1);

        is_accepted(fixture("takes-any-value").args([case, "finish"]).env("PREFORK_READY_TIMEOUT", "none"));
    }
}

#[test]
fn the_environment_wins_over_the_code() {
    let auto = format!("starting {} worker", prefork_rt::cpu_count());
    for (variable, value, body, line) in [
        ("PREFORK_WORKERS", "3", "finish", "starting 3 workers: PREFORK_WORKERS=3"),
        ("PREFORK_WORKERS", "auto", "finish", &auto),
        ("PREFORK_WORKERS", "0", "finish", &auto),
        ("PREFORK_MAX_RESTARTS", "1", "fail", "giving up: 1 of 1 restarts are used"),
        ("PREFORK_MAX_RESTARTS", "0", "fail", "giving up: 0 of 0 restarts are used"),
        ("PREFORK_MAX_RESTARTS", "unlimited", "fail", "(1/unlimited)"),
        ("PREFORK_GRACEFUL_TIMEOUT", "5m", "wait", "at most 5m00s"),
        ("PREFORK_BACKOFF", "30m", "fail", "restarting in 30m00s"),
        ("PREFORK_LISTEN", "127.0.0.2:0", "finish", "listening on 127.0.0.2:"),
    ] {
        shows("everything", &[(variable, value)], body, line);
    }
    let mut program =
        Program::start(fixture("takes-any-value").args(["everything", "finish"]).env("PREFORK_LISTEN", "none"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stderr.count("listening"), 0);
}

#[test]
fn an_empty_variable_is_unset() {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]);
    for name in ["WORKERS", "MAX_RESTARTS", "RESTART_WINDOW", "RESTART", "GRACEFUL_TIMEOUT", "BACKOFF", "LISTEN"] {
        command.env(format!("PREFORK_{name}"), "");
    }
    for name in
        ["READY_TIMEOUT", "HEARTBEAT_TIMEOUT", "MAX_LIFETIME", "MAX_MEMORY", "RELOAD", "USER", "GROUP", "UNKNOWN"]
    {
        command.env(format!("PREFORK_{name}"), "");
    }
    command.env("PREFORK", "");
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    program.stderr.wait_for("starting 2 workers: workers = 2");
    program.stderr.wait_for("listening on 127.0.0.1:");
    assert_eq!(program.stderr.count("PREFORK"), 0);
}

/// Exit status 2, one line that has all these parts, and no fork.
fn is_refused(command: &mut std::process::Command, parts: &[&str]) {
    let mut program = Program::start(command);
    assert_eq!(program.exit_code(), 2, "{command:?}");
    let lines = program.stderr.all();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("prefork: "), "{lines:#?}");
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} is not in {lines:#?}");
    }
    assert_eq!(program.stdout.all(), [""; 0], "{command:?}");
}

#[test]
fn a_bad_variable_is_one_line_with_its_name_value_and_what_is_accepted() {
    for (variable, value, accepted) in [
        ("PREFORK_WORKERS", "four", "a whole number or \"auto\""),
        ("PREFORK_WORKERS", "-1", "or \"auto\""),
        ("PREFORK_WORKERS", "1.5", "a whole number or \"auto\""),
        ("PREFORK_WORKERS", "99999999999999999999", "too large"),
        ("PREFORK_WORKERS", "18446744073709551615", "too large"),
        ("PREFORK_WORKERS", "10000000000", "too large"),
        ("PREFORK_MAX_RESTARTS", "many", "a whole number or \"unlimited\""),
        ("PREFORK_MAX_RESTARTS", "-1", "or \"unlimited\""),
        ("PREFORK_GRACEFUL_TIMEOUT", "30", "\"30s\""),
        ("PREFORK_GRACEFUL_TIMEOUT", "30 s", "ms, s, m or h"),
        ("PREFORK_GRACEFUL_TIMEOUT", "soon", "a number and a unit"),
        ("PREFORK_BACKOFF", "2s..1s", "the shorter one first"),
        ("PREFORK_BACKOFF", "1..2", "\"1s\""),
        ("PREFORK_BACKOFF", "0s..1s", "\"10ms..1s\""),
        ("PREFORK_LISTEN", "8080", "127.0.0.1:8080"),
        ("PREFORK_LISTEN", "localhost", "\"localhost:8080\""),
        ("PREFORK_LISTEN", "ad min=127.0.0.1:0", "use letters, digits, '-', '_' and '.'"),
        ("PREFORK_LISTEN", "tcp:127.0.0.1:0", "write \"127.0.0.1:0\""),
        ("PREFORK_LISTEN", "udp:127.0.0.1", "\"udp:127.0.0.1:8080\""),
        ("PREFORK_LISTEN", "unix:app.sock", "\"unix:/run/app.sock\""),
        ("PREFORK_LISTEN", "unix:/run/app.sock?mode=999", "\"mode=660\""),
        ("PREFORK_LISTEN", "127.0.0.1", "127.0.0.1:8080"),
        ("PREFORK_RESTART_WINDOW", "0s", "\"none\""),
        ("PREFORK_RESTART_WINDOW", "10", "\"10s\""),
        ("PREFORK_RESTART_WINDOW", "off", "or \"none\""),
        ("PREFORK_RESTART", "never", "\"on-failure\""),
        ("PREFORK_RESTART", "Always", "\"always\""),
        ("PREFORK_READY_TIMEOUT", "0s", "\"30s\""),
        ("PREFORK_READY_TIMEOUT", "soon", "a number and a unit"),
        ("PREFORK_HEARTBEAT_TIMEOUT", "99ms", "\"100ms\" or more"),
        ("PREFORK_HEARTBEAT_TIMEOUT", "501h", "\"500h\" or less"),
        ("PREFORK_MAX_LIFETIME", "0s", "\"1h\""),
        ("PREFORK_MAX_LIFETIME", "1d", "ms, s, m or h"),
        ("PREFORK_MAX_MEMORY", "512", "write for example \"512MiB\""),
        ("PREFORK_MAX_MEMORY", "256M", "\"256MiB\""),
        ("PREFORK_MAX_MEMORY", "2GB", "\"2GiB\""),
        ("PREFORK_MAX_MEMORY", "1.5GiB", "\"1536MiB\""),
        ("PREFORK_MAX_MEMORY", "16777216TiB", "more than any machine has"),
        ("PREFORK_MAX_MEMORY", "-1", "a number and a unit"),
        ("PREFORK_RELOAD", "soft", "\"overlap\""),
        ("PREFORK_REUSE_PORT", "yes", "write true for one socket"),
        ("PREFORK_REUSE_PORT", "True", "or false for sockets that all workers share"),
        ("PREFORK_NO_NEW_PRIVS", "1", "write true for workers that gain no rights"),
        ("PREFORK_NO_NEW_PRIVS", "True", "or false"),
        ("PREFORK_UMASK", "89", "an octal number up to 777: write for example \"027\", or \"none\""),
        ("PREFORK_USER", "nobody nogroup", "\"none\""),
        ("PREFORK_GROUP", "a:b", "two options"),
        ("PREFORK", "bogus", "\"off\""),
        ("PREFORK", "bogus", "\"check\""),
        ("PREFORK", "OFF", "\"off\""),
    ] {
        let mut command = fixture("takes-any-value");
        let said = value.split("..").next().expect("a part");
        is_refused(command.args(["everything", "finish"]).env(variable, value), &[variable, said, accepted]);
    }
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK_LISTEN", "admin=127.0.0.1:0,admin=127.0.0.2:0");
    is_refused(&mut command, &["PREFORK_LISTEN", "\"admin\" is given twice: give each address a name of its own"]);
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK_WORKERS", OsStr::from_bytes(b"\xff"));
    is_refused(&mut command, &["PREFORK_WORKERS", "not UTF-8"]);
}

#[test]
fn a_bad_value_in_the_code_is_one_line_with_its_option_and_what_is_accepted() {
    for (case, parts) in [
        ("workers four", ["workers", "\"four\"", "or \"auto\""]),
        ("workers usize::MAX", ["workers", "18446744073709551615", "too large"]),
        ("max_restarts some", ["max_restarts", "\"some\"", "or \"unlimited\""]),
        ("graceful_timeout 30", ["graceful_timeout", "\"30\"", "\"30s\""]),
        ("backoff backwards", ["backoff", "2s", "the shorter one first"]),
        ("listen localhost", ["listen", "\"localhost\"", "\"localhost:8080\""]),
        ("listen a name twice", ["listen", "\"admin\"", "given twice"]),
        ("restart_window 0s", ["restart_window", "0s", "\"none\""]),
        ("restart never", ["restart", "\"never\"", "\"always\""]),
        ("ready_timeout 0s", ["ready_timeout", "0s", "\"none\""]),
        ("heartbeat_timeout 0s", ["heartbeat_timeout", "0s", "\"100ms\""]),
        ("heartbeat_timeout 501h", ["heartbeat_timeout", "501h", "\"500h\""]),
        ("max_lifetime 0s", ["max_lifetime", "0s", "\"none\""]),
        ("max_memory 512", ["max_memory", "512 bytes", "\"512MiB\""]),
        ("max_memory 512M", ["max_memory", "\"512M\"", "\"512MiB\""]),
        ("reload soft", ["reload", "\"soft\"", "\"exclusive\""]),
        ("umask 89", ["umask", "\"89\"", "\"027\""]),
        ("user empty", ["user", "empty", "\"nobody\""]),
        ("group of a user", ["group", "\"nobody:nogroup\"", "two options"]),
    ] {
        is_refused(fixture("takes-any-value").args([case, "finish"]), &parts);
    }
}

/// The modes of what workers have made, hooks included, and of the socket that the supervisor has made.
fn modes(files: &Files) -> (BTreeSet<u32>, u32) {
    let mode = |name: &str| std::fs::metadata(files.path(name)).expect("a file").mode() & 0o7777;
    let names = files.names();
    let (socket, made): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| *name == "app.sock");
    (made.into_iter().map(|name| mode(name)).collect(), mode(socket[0]))
}

fn makes_files(files: &Files, case: &str) -> std::process::Command {
    let mut command = fixture("takes-any-value");
    command.args([case, "make"]).env("PREFORK_LISTEN", format!("unix:{}", files.path("app.sock").display()));
    before_exec(files.name_in(&mut command), || {
        // SAFETY: umask(2) takes a number.
        unsafe { libc::umask(0) };
        Ok(())
    });
    command
}

/// A restarted worker, a reloaded one and one of another binary, too.
#[test]
fn a_umask_is_each_worker_s_and_not_the_supervisor_s() {
    let files = Files::with(&[]);
    let mut service = Session::start(&mut makes_files(&files, "umask str"));
    service.stdout.wait_for_nth("made ", 4);
    send(service.children()[0], Signal::SIGKILL);
    service.stdout.wait_for_nth("made ", 6);
    service.signal(Signal::SIGHUP);
    service.stdout.wait_for_nth("made ", 10);
    service.stderr.wait_for("reload done");
    service.signal(Signal::SIGUSR2);
    service.stderr.wait_for("upgrade done");
    service.stdout.wait_for_nth("made ", 14);
    assert_eq!(modes(&files), (BTreeSet::from([0o640]), 0o777));
    service.stop();
}

#[test]
fn a_umask_is_that_of_the_environment_before_that_of_the_code() {
    for (umask, mode) in [("none", 0o666), ("077", 0o600)] {
        let files = Files::with(&[]);
        let mut service = Session::start(makes_files(&files, "umask str").env("PREFORK_UMASK", umask));
        service.stdout.wait_for_nth("made ", 4);
        assert_eq!(modes(&files), (BTreeSet::from([mode]), 0o777));
        service.stop();
    }
}

#[test]
fn prefork_off_sets_the_umask_when_the_listeners_are_open() {
    let files = Files::with(&[]);
    let mut program = Program::start(makes_files(&files, "umask str").env("PREFORK", "off"));
    program.stdout.wait_for("made ");
    assert_eq!(modes(&files), (BTreeSet::from([0o640]), 0o777));
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}

#[test]
fn an_unknown_variable_is_warned_of_with_the_nearest_name() {
    for (variable, says) in [
        ("PREFORK_WORKRES", "PREFORK_WORKRES is unknown and ignored: did you mean PREFORK_WORKERS?"),
        ("PREFORK_MAX_RESTART", "did you mean PREFORK_MAX_RESTARTS?"),
        ("PREFORK_workers", "did you mean PREFORK_WORKERS?"),
        ("PREFORK_COLOUR", "PREFORK_COLOUR is unknown and ignored: known are "),
        ("PREFORK_RESTARTS_WINDOW", "did you mean PREFORK_RESTART_WINDOW?"),
        ("PREFORK_MAX_MEMMORY", "did you mean PREFORK_MAX_MEMORY?"),
        ("PREFORK_PRELOAD", "PREFORK_PRELOAD is ignored: preload is set in the code only"),
    ] {
        let mut command = fixture("takes-any-value");
        let mut program = Program::start(command.args(["everything", "finish"]).env(variable, "3"));
        assert_eq!(program.exit_code(), 0);
        program.stderr.wait_for(says);
        assert_eq!(program.stderr.count("PREFORK_"), 1);
        program.stderr.wait_for("starting 2 workers");
    }
}

const CONTAINER_LINKS: [&str; 6] = [
    "PREFORK_SERVICE_HOST",
    "PREFORK_PORT",
    "PREFORK_WEB_SERVICE_HOST",
    "PREFORK_WEB_SERVICE_PORT",
    "PREFORK_WEB_PORT",
    "PREFORK_WEB_PORT_80_TCP_ADDR",
];

#[test]
fn what_container_links_make_is_not_warned_of() {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).envs(CONTAINER_LINKS.map(|name| (name, "10.0.0.1")));
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stderr.count("PREFORK_"), 0);
}

#[test]
fn workers_and_their_children_see_none_of_the_variables_and_all_others() {
    let mut command = with_variables_of_all_kinds();
    command.env("PREFORK_WORKERS", "1").env("PREFORK_LISTEN", "");
    let mut program = Program::start(&mut command);
    program.wait();
    sees_only_what_is_not_ours(&program);
}

/// Ours, others', and those of a service that happens to be called prefork.
fn with_variables_of_all_kinds() -> std::process::Command {
    let mut command = fixture("shows-its-environment");
    command.env("PREFORK_COLOUR", "red").env("PREFORKED", "other").env("HOME", "/");
    command.envs(CONTAINER_LINKS.map(|name| (name, "10.0.0.1")));
    command
}

fn sees_only_what_is_not_ours(program: &Program) {
    for who in ["own", "child"] {
        for ours in ["PREFORK_WORKERS", "PREFORK_LISTEN", "PREFORK_COLOUR", "PREFORK"] {
            assert_eq!(program.stdout.count(&format!("{who} {ours}=")), 0, "{:#?}", program.stdout.all());
        }
        program.stdout.wait_for(&format!("{who} PREFORKED=other"));
        program.stdout.wait_for(&format!("{who} HOME=/"));
        // Of a service that happens to be called prefork.
        for link in CONTAINER_LINKS {
            program.stdout.wait_for(&format!("{who} {link}=10.0.0.1"));
        }
    }
}

#[test]
fn prefork_off_runs_the_body_in_the_one_process_as_task_0_of_1() {
    let mut command = with_variables_of_all_kinds();
    command.env("PREFORK", "off").env("PREFORK_WORKERS", "5");
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 9);
    program.stdout.wait_for("task 0 of 1 restarts 0");
    program.stdout.wait_for("task_id() Some(0)");
    program.stdout.wait_for(&format!("pid {}", program.pid()));
    // `Command` forks without the handlers that announce it.
    assert_eq!(program.stdout.count("forking"), 0);
    sees_only_what_is_not_ours(&program);
    program.stderr.wait_for("PREFORK=off: running as task 0 of 1");
}

#[test]
fn prefork_check_says_that_the_configuration_is_good_and_forks_nothing() {
    let mut program = Program::start(fixture("takes-any-value").args(["everything", "finish"]).env("PREFORK", "check"));
    assert_eq!(program.exit_code(), 0);
    assert_eq!(program.stdout.all(), [""; 0]);
    program.stderr.wait_for("checking what would start 2 workers: workers = 2");
    let last = program.stderr.all().pop().expect("a line");
    assert!(last.contains("PREFORK=check: all is well, nothing was started"), "{last}");
}

#[test]
fn prefork_check_refuses_a_bad_value_with_2() {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check").env("PREFORK_BACKOFF", "5");
    is_refused(&mut command, &["PREFORK_BACKOFF"]);
    is_refused(fixture("takes-any-value").args(["workers four", "finish"]).env("PREFORK", "check"), &["workers"]);
}

/// A check of these addresses, which has to be good.
fn checks(listen: &str, prepare: impl FnOnce(&mut std::process::Command)) -> Vec<String> {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check").env("PREFORK_LISTEN", listen);
    prepare(&mut command);
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0, "{:#?}", program.stderr.all());
    assert_eq!(program.stdout.all(), [""; 0]);
    assert_eq!(program.stderr.count("trying again"), 0, "{:#?}", program.stderr.all());
    program.stderr.all()
}

fn has(lines: &[String], part: &str) -> bool {
    lines.iter().any(|line| line.contains(part))
}

/// As `nginx -t`: the service that runs may have it.
#[test]
fn prefork_check_notes_an_address_in_use_and_whose_it_is() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let folder = Files::with(&[]);
    let path = folder.path("app.sock");
    let _unix = UnixListener::bind(&path).expect("a socket");
    let file = std::fs::metadata(&path).expect("a file").ino();
    let (tcp, udp) = (taken.local_addr().expect("bound"), udp.local_addr().expect("bound"));
    let listen = format!("{tcp}, web=127.0.0.1:0, dns=udp:{udp}, unix:{}", path.display());
    for reuse_port in ["false", "true"] {
        let lines = checks(&listen, |command| {
            command.env("PREFORK_REUSE_PORT", reuse_port);
        });
        for place in [tcp.to_string(), format!("dns=udp:{udp}"), format!("unix:{}", path.display())] {
            let whose = format!("PREFORK=check: {place} is in use by pid {} (", std::process::id());
            assert!(has(&lines, &whose), "{whose} is not in {lines:#?}");
        }
        assert!(has(&lines, "listening on web=127.0.0.1:"), "{lines:#?}");
        let last = lines.last().expect("a line");
        assert!(last.contains("all is well but for 3 addresses in use, nothing was started"), "{last}");
        // Nothing is left, and what is there stays.
        assert_eq!(std::fs::metadata(&path).expect("a file").ino(), file);
        assert_eq!(folder.names(), ["app.sock"]);
    }
}

/// A socket unit's port may be one that the service must not bind.
#[test]
fn prefork_check_notes_an_address_in_use_that_it_may_not_bind() {
    let address = SocketAddr::new(own_address().ip(), 747);
    let _taken = match TcpListener::bind(address) {
        Ok(listener) => listener,
        Err(error) => skip!("only root can bind {address}: {error}"),
    };
    let without_the_right = |command: &mut std::process::Command| {
        const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
        // SAFETY: prctl(2) with PR_CAPBSET_DROP takes a number.
        before_exec(command, || match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    };
    let lines = checks(&address.to_string(), without_the_right);
    assert!(has(&lines, &format!("{address} is in use by pid {} (", std::process::id())), "{lines:#?}");
    // Where it is free, that it may not be bound is what is wrong.
    let free = SocketAddr::new(address.ip(), 748);
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check").env("PREFORK_LISTEN", free.to_string());
    without_the_right(&mut command);
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    program.stderr.wait_for("CAP_NET_BIND_SERVICE");
}

/// A start would fail, too.
#[test]
fn prefork_check_refuses_addresses_that_are_in_each_other_s_way_with_1() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check");
    command.env("PREFORK_LISTEN", format!("0.0.0.0:{port},127.0.0.1:{port}"));
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
    let last = program.stderr.all().pop().expect("a line");
    assert!(last.contains("in use") && last.contains("this process holds it itself"), "{last}");
}

#[test]
fn prefork_check_beside_the_running_service_takes_nothing_from_it() {
    let folder = Files::with(&[]);
    let path = folder.path("app.sock");
    let mut listens = fixture("listens");
    listens.arg("all").env("PREFORK_LISTEN", format!("127.0.0.1:0,unix:{}", path.display()));
    let mut service = Session::start(&mut listens);
    let line = service.stderr.wait_for("listening on 127.0.0.1:");
    let (_, address) = line.split_once("listening on ").expect("an address");
    service.stderr.wait_for("are ready");
    let file = std::fs::metadata(&path).expect("a file").ino();
    for _ in 0..3 {
        let lines = checks(&format!("{address},unix:{}", path.display()), |_| ());
        assert!(has(&lines, "all is well but for 2 addresses in use"), "{lines:#?}");
        assert_eq!(std::fs::metadata(&path).expect("a file").ino(), file);
        let mut answer = String::new();
        let mut connection = TcpStream::connect(address).expect("it serves");
        connection.read_to_string(&mut answer).expect("an answer");
        assert!(!answer.is_empty());
    }
    service.stop();
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_program_started_with_more_rights_than_its_caller_ignores_the_environment() {
    for rights in [Rights::SetUserId, Rights::FileCapabilities] {
        let copy = match MoreRights::of(&fixture("shows-its-environment"), rights) {
            Ok(copy) => copy,
            Err(why) => skip!("{rights:?}: {why}"),
        };
        let mut command = copy.command();
        command.env("PREFORK", "off").env("PREFORK_WORKERS", "many").env("PREFORK_COLOUR", "red");
        command.env("PREFORK_LISTEN", "").env("PREFORK_UPGRADE", "3");
        let mut program = Program::start(&mut command);
        // The code's own max_restarts: the body ends with 9, abnormally, and none is replaced.
        assert_eq!(program.exit_code(), 1, "{:#?}", program.stderr.all());
        program.stderr.wait_for("starting 1 worker: workers = 1");
        assert_eq!(program.stdout.count("forking"), 1);
        assert_eq!(program.stdout.count("PREFORK_"), 0, "{:#?}", program.stdout.all());
        // One line says which, and what to do.
        let line = program.stderr.wait_for("ignored, because this program has more rights than its caller");
        let (_, named) = line.split_once("gain by them: ").expect("which");
        let (named, advice) = named.split_once("; ").expect("what to do");
        let mut named: Vec<&str> = named.split(", ").collect();
        named.sort_unstable();
        assert_eq!(named, ["PREFORK", "PREFORK_COLOUR", "PREFORK_UPGRADE", "PREFORK_WORKERS"]);
        assert!(advice.contains("AmbientCapabilities="), "{advice}");
        assert_eq!(program.stderr.count("PREFORK"), 1, "{:#?}", program.stderr.all());
    }
}

/// What only a supervisor of workers does, main cannot be given.
#[test]
fn prefork_off_says_what_it_does_not_use() {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "off").env("PREFORK_WORKERS", "5");
    command.env("PREFORK_MAX_RESTARTS", "3").env("PREFORK_LISTEN", "127.0.0.1:0").env("PREFORK_RELOAD", "");
    command.env("NOTIFY_SOCKET", "/nowhere").env("WATCHDOG_USEC", "1000000");
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    let line = program.stderr.wait_for("PREFORK=off: ");
    for part in ["not used without workers: PREFORK_", "left to main: NOTIFY_SOCKET, WATCHDOG_USEC"] {
        assert!(line.contains(part), "{line}");
    }
    for (variable, named) in [("PREFORK_WORKERS", 1), ("PREFORK_MAX_RESTARTS", 1), ("LISTEN", 0), ("RELOAD", 0)] {
        assert_eq!(line.matches(variable).count(), named, "{line}");
    }
}

#[test]
fn prefork_check_says_that_a_service_manager_is_told_nothing() {
    let mut command = fixture("takes-any-value");
    command.args(["everything", "finish"]).env("PREFORK", "check").env("NOTIFY_SOCKET", "/nowhere");
    let mut program = Program::start(&mut command);
    assert_eq!(program.exit_code(), 0);
    program.stderr.wait_for("PREFORK=check: a service manager is told nothing, so these are not used: NOTIFY_SOCKET");
}

#[test]
fn what_an_upgrade_handed_to_another_process_is_named_and_ignored() {
    for number in ["1", "x", "99"] {
        let mut command = fixture("takes-any-value");
        let mut program = Program::start(command.args(["everything", "finish"]).env("PREFORK_UPGRADE", number));
        assert_eq!(program.exit_code(), 0);
        program.stderr.wait_for(&format!("PREFORK_UPGRADE={number} is ignored: it was meant for another process"));
        assert_eq!(program.stderr.count("PREFORK_"), 1);
    }
}

#[test]
fn a_reuse_port_that_nothing_can_use_is_named() {
    for (listen, count) in [("none", 1), ("127.0.0.1:0", 0)] {
        let lines = checks(listen, |command| {
            command.env("PREFORK_REUSE_PORT", "true");
        });
        let named = lines.iter().filter(|line| line.contains("reuse_port has no effect: listen has no TCP or UDP"));
        assert_eq!(named.count(), count, "{lines:#?}");
    }
}
