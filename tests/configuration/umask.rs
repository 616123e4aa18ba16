//! The option `umask` is for what workers make, and for nothing that the supervisor makes.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use crate::support::before_exec::before_exec;
use crate::support::pool::Files;
use crate::support::session::Session;
use crate::support::{Program, Signal, fixture, send};

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
    // The hook has made a file before.
    program.stdout.wait_for("/body-");
    assert_eq!(modes(&files), (BTreeSet::from([0o640]), 0o777));
    program.signal(Signal::SIGTERM);
    assert_eq!(program.exit_code(), 0);
}
