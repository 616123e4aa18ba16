//! A real terminal: what is typed, and what appears.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Pid, setsid};

use super::before_exec::before_exec;
use super::{Lines, children_of, until};

pub const CTRL_C: &str = "\x03";
pub const CTRL_Z: &str = "\x1a";

/// A terminal, and the program that leads its session.
pub struct Terminal {
    keyboard: File,
    pub screen: Lines,
    leader: Child,
}

impl Terminal {
    /// Runs an interactive shell in a new terminal.
    pub fn shell() -> Terminal {
        let mut shell = super::clean_command("/bin/sh");
        Terminal::run(shell.arg("-i").env("PS1", "").env_remove("ENV"))
    }

    /// Runs a program as the leader of a new terminal's session, as `docker run -t` does.
    pub fn run(command: &mut Command) -> Terminal {
        let pty = openpty(None, None).expect("a terminal");
        let mut settings = tcgetattr(&pty.slave).expect("its settings");
        settings.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &settings).expect("its settings");
        let stdio = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        before_exec(command, || {
            setsid()?;
            // SAFETY: ioctl(2) with TIOCSCTTY takes an integer and touches no memory.
            let result = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
            nix::errno::Errno::result(result)?;
            Ok(())
        });
        let leader = command.spawn().expect("the program starts");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let keyboard = File::from(pty.master);
        let screen = Lines::read(keyboard.try_clone().expect("a descriptor"));
        Terminal { keyboard, screen, leader }
    }

    pub fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("the terminal is there");
    }

    /// The leader's process.
    pub fn pid(&self) -> i32 {
        self.leader.id().try_into().expect("a process id")
    }

    /// The only program that the shell runs.
    pub fn job(&self) -> i32 {
        until("the shell has one child", || match children_of(self.pid())[..] {
            [job] => Some(job),
            _ => None,
        })
    }

    /// Waits until the leader ends, for its exit status.
    pub fn exit_code(&mut self) -> i32 {
        let status = until("the leader ends", || self.leader.try_wait().expect("it is our child"));
        status.code().expect("the leader was not killed")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for child in children_of(self.pid()) {
            let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
        }
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }
}
