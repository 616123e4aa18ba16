//! Values that cannot be used, in the code or in a variable, are one line and exit status 2, and nothing is forked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::support::{Program, fixture};

/// Exit status 2, one line that has all these parts, and no fork.
pub(crate) fn is_refused(command: &mut std::process::Command, parts: &[&str]) {
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
        ("PREFORK_DRAIN_DELAY", "5", "\"5s\""),
        ("PREFORK_DRAIN_DELAY", "none", "a number and a unit"),
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
        ("PREFORK_RELOAD_WIDTH", "0", "a number of workers, 1 or more"),
        ("PREFORK_RELOAD_WIDTH", "0%", "a percentage from \"1%\" to \"100%\""),
        ("PREFORK_RELOAD_WIDTH", "101%", "more than all workers"),
        ("PREFORK_RELOAD_WIDTH", "-1", "a number of workers, 1 or more"),
        ("PREFORK_RELOAD_WIDTH", "half", "a percentage from \"1%\" to \"100%\""),
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
        ("drain_delay 5", ["drain_delay", "\"5\"", "\"5s\""]),
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
        ("reload_width 0", ["reload_width", "0 would replace no worker", "\"100%\""]),
        ("reload_width 101%", ["reload_width", "101%", "\"100%\""]),
        ("umask 89", ["umask", "\"89\"", "\"027\""]),
        ("user empty", ["user", "empty", "\"nobody\""]),
        ("group of a user", ["group", "\"nobody:nogroup\"", "two options"]),
    ] {
        is_refused(fixture("takes-any-value").args([case, "finish"]), &parts);
    }
}
