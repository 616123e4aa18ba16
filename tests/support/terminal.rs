//! A real terminal: what is typed, and what appears.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{Pid, setsid};

use super::before_exec::before_exec;
use super::{Lines, children_of, until};

pub const CTRL_C: &str = "\x03";
pub const CTRL_Z: &str = "\x1a";

/// A terminal, and the program that leads its session.
pub struct Terminal {
    keyboard: Option<File>,
    pub screen: Lines,
    /// It reads the screen, in a process of its own, which can be ended while it waits.
    reader: Child,
    leader: Child,
}

impl Terminal {
    /// Runs an interactive shell in a new terminal.
    pub fn shell() -> Terminal {
        let mut shell = super::clean_command("/bin/sh");
        Terminal::run(shell.arg("-i").env("PS1", "").env_remove("ENV"))
    }

    /// Runs bash, which passes a hangup on to its jobs, in a new terminal. `None` where it is not installed.
    pub fn bash(command: &mut Command) -> Option<Terminal> {
        let is_there = Command::new("bash").arg("--version").output().is_ok();
        let quiet = command.env_remove("HISTFILE").env("PS1", "");
        is_there.then(|| Terminal::run(quiet.args(["--noprofile", "--norc", "--noediting", "-i"])))
    }

    /// Runs a program as the leader of a new terminal's session, as `docker run -t` does.
    pub fn run(command: &mut Command) -> Terminal {
        Terminal::start(command, || {
            setsid()?;
            // SAFETY: ioctl(2) with TIOCSCTTY takes an integer and touches no memory.
            let result = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
            nix::errno::Errno::result(result)?;
            Ok(())
        })
    }

    /// Runs a program that leads a session and has a terminal which is no session's, as systemd's `StandardOutput=tty`
    /// does.
    pub fn of_no_session(command: &mut Command) -> Terminal {
        Terminal::start(command, || setsid().map(drop).map_err(Into::into))
    }

    fn start(command: &mut Command, arrange: fn() -> io::Result<()>) -> Terminal {
        // No other program that a test starts meanwhile may have it, or it would not go away.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
        let master = posix_openpt(flags | OFlag::O_CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal");
        let path = ptsname_r(&master).expect("its name");
        let slave =
            OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path).expect("a terminal");
        let mut settings = tcgetattr(&slave).expect("its settings");
        settings.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&slave, SetArg::TCSANOW, &settings).expect("its settings");
        let stdio = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        before_exec(command, arrange);
        let leader = command.spawn().expect("the program starts");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let keyboard = File::from(OwnedFd::from(master));
        let mut cat = Command::new("cat");
        cat.stdin(keyboard.try_clone().expect("a descriptor")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut reader = cat.spawn().expect("cat");
        let screen = Lines::read(reader.stdout.take().expect("piped"));
        Terminal { keyboard: Some(keyboard), screen, reader, leader }
    }

    /// The window is closed, the connection lost.
    pub fn hang_up(&mut self) {
        self.keyboard = None;
        let _ = self.reader.kill();
        let _ = self.reader.wait();
    }

    pub fn type_in(&mut self, text: &str) {
        let keyboard = self.keyboard.as_mut().expect("the terminal is there");
        keyboard.write_all(text.as_bytes()).expect("the terminal is there");
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

    /// Waits until the leader ends, however.
    pub fn wait(&mut self) {
        until("the leader ends", || self.leader.try_wait().expect("it is our child"));
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
        self.hang_up();
    }
}
