//! No request fails while binaries are replaced.

use std::fs::{self};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::skip_unless;
use crate::support::http::{
    self, Client, address_in, assert_all_answered, connection_per_request, keep_alive, thousands, under_load,
};
use crate::support::pid_1::as_pid_1;
use crate::support::release::Release;
use crate::support::session::Session;
use crate::support::{Program, Signal, clean_command, send, until};

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
