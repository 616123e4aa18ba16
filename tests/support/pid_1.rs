//! A program that is the first of its PID namespace, as in a container.

use std::process::Command;

use super::{clean_command, words};

/// The command that runs a program as PID 1 of a new namespace; `None` where that is not permitted.
pub fn as_pid_1(program: &Command) -> Option<Command> {
    let own_user: &[&[&str]] = &[&[], &["--user", "--map-root-user"]];
    let flags = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let permitted = |user: &&&[&str]| {
        let status = Command::new("unshare").args(**user).args(flags).arg("true").output();
        status.is_ok_and(|output| output.status.success())
    };
    let user = own_user.iter().find(permitted)?;
    let mut unshare = clean_command("unshare");
    unshare.args(*user).args(flags).args(words(program));
    Some(unshare)
}
