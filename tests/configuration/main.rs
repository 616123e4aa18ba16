//! Each option takes what its documentation says, in the code and from the environment.

mod modes;
mod refused;
#[path = "../support/mod.rs"]
mod support;
mod umask;
mod variables;

use support::{Program, Signal, fixture};

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
        ("drain_delay", &["Duration", "str", "String"]),
        ("restart", &["Restart", "str", "String", "&String"]),
        ("reload", &["Reload", "str", "String", "&String"]),
        ("reload_width", &["2_usize", "str", "String", "&String"]),
        ("reuse_port", &["true", "false"]),
        ("no_new_privs", &["true", "false"]),
        ("huge_pages", &["true", "false"]),
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
        ("PREFORK_RELOAD_WIDTH", &["1", "25%", "100%"]),
        ("PREFORK_DRAIN_DELAY", &["0s", "5s"]),
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
