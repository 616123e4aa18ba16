//! Variables that are not used are named with the reason, and workers do not see those that are prefork's.

use crate::skip;
use crate::support::more_rights::{MoreRights, Rights};
use crate::support::{Program, fixture};

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

#[test]
fn when_the_pool_is_over_its_first_process_sees_the_variables_again() {
    let mut program = Program::start(fixture("asks-who-it-is").env("PREFORK_MAX_RESTARTS", "7"));
    assert_eq!(program.exit_code(), 0);
    program.stdout.wait_for("the supervisor sees PREFORK_MAX_RESTARTS=7");
}

/// Ours, others', and those of a service that happens to be called prefork.
pub(crate) fn with_variables_of_all_kinds() -> std::process::Command {
    let mut command = fixture("shows-its-environment");
    command.env("PREFORK_COLOUR", "red").env("PREFORKED", "other").env("HOME", "/");
    command.envs(CONTAINER_LINKS.map(|name| (name, "10.0.0.1")));
    command
}

pub(crate) fn sees_only_what_is_not_ours(program: &Program) {
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
