//! Runs the fixture whose workers live as its arguments say, with options given in each way there is.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use super::session::Session;
use super::{Signal, fixture};

/// How a program is given its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Attribute,
    Builder,
    Environment,
}

pub const WAYS: [Way; 3] = [Way::Attribute, Way::Builder, Way::Environment];

/// The command for workers that take these steps, of which `OPTION=VALUE` with two dashes before it is an option.
pub fn lives<const N: usize>(steps: [&str; N]) -> Command {
    let mut command = fixture("lives");
    command.args(steps);
    command
}

impl Way {
    /// The command for workers that take these steps, with options that are given in this way.
    pub fn lives<const M: usize, const N: usize>(self, options: [(&str, &str); M], steps: [&str; N]) -> Command {
        let mut command = if self == Way::Attribute { fixture("lives-by-attribute") } else { fixture("lives") };
        for (option, value) in options {
            self.give(&mut command, option, value);
        }
        command.args(steps);
        command
    }

    /// Gives a program an option that its attribute or its builder takes from the arguments.
    pub fn give(self, command: &mut Command, option: &str, value: &str) {
        match self {
            Way::Attribute | Way::Builder => command.arg(format!("--{option}={value}")),
            Way::Environment => command.env(format!("PREFORK_{}", option.to_uppercase()), value),
        };
    }
}

/// Starts workers that `read`: each waits there for one byte.
pub fn start(command: &mut Command) -> (Session, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    (Session::start(command.stdin(OwnedFd::from(theirs))), ours)
}

/// Lets this number of workers go on that read.
pub fn let_go_on(mut writer: &UnixStream, workers: usize) {
    writer.write_all(&vec![b'.'; workers]).expect("they read");
}

/// The process that has this task id for the nth time, once it has said so.
pub fn nth_worker(program: &Session, task_id: usize, nth: usize) -> i32 {
    let line = program.stdout.wait_for_nth(&format!("task {task_id} pid "), nth);
    line.split(' ').nth(3).expect("a pid").parse().expect("a number")
}

/// Waits until the supervisor has answered twice: whatever it had been told before, it has acted on by then.
pub fn settle(program: &Session) {
    for _ in 0..2 {
        let answers = program.stderr.count("SIGUSR1 from pid");
        program.signal(Signal::SIGUSR1);
        program.stderr.wait_for_nth("SIGUSR1 from pid", answers + 1);
    }
}
