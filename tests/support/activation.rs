//! Programs that are started with sockets: by systemd's own tool, or as a service manager starts them again.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::fcntl::{FcntlArg, fcntl};

use super::before_exec::before_exec;
use super::{clean_command, words};

const TOOL: &str = "systemd-socket-activate";

/// A command that listens as `options` say, and becomes the other at the first sign of a client; if that tool is there.
pub fn by_systemd(options: &[&str], program: &Command) -> Option<Command> {
    let answer = Command::new(TOOL).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    answer.ok().filter(|status| status.success())?;
    let mut command = clean_command(TOOL);
    command.args(options);
    // It passes on what it is told to, and nothing else.
    for (name, value) in program.get_envs() {
        let Some(value) = value else { continue };
        command.arg("-E").arg([name, OsStr::new("="), value].join(OsStr::new("")));
    }
    command.args(words(program));
    Some(command)
}

/// A command that has these sockets from descriptor 3 on, and their names, for it itself by its process id.
pub fn with_sockets(program: &Command, sockets: &[(&str, &OwnedFd)]) -> Command {
    let pid = if sockets.is_empty() { "" } else { "LISTEN_PID=$$ " };
    let mut command = clean_command("sh");
    command.args(["-c", &format!("{pid}exec \"$@\""), "sh"]).args(words(program));
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    announced(&mut command, sockets.len(), &names.join(":"));
    descriptors(&mut command, sockets.iter().map(|(_, socket)| *socket));
    command
}

/// Puts into a command's environment how many there are and how they are called.
pub fn announced<'a>(command: &'a mut Command, count: usize, names: &str) -> &'a mut Command {
    command.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names)
}

/// Has the program find copies of these from descriptor 3 on.
pub fn descriptors<'a>(command: &mut Command, sockets: impl Iterator<Item = &'a OwnedFd>) {
    // Above where they will be.
    let copies: Vec<OwnedFd> = sockets.map(|socket| above(socket, 100)).collect();
    before_exec(command, move || {
        for (copy, number) in copies.iter().zip(3..) {
            place(copy, number)?;
        }
        Ok(())
    });
}

fn above(socket: &OwnedFd, lowest: RawFd) -> OwnedFd {
    let number = fcntl(socket, FcntlArg::F_DUPFD_CLOEXEC(lowest)).expect("a copy");
    // SAFETY: fcntl(2) has just made this descriptor, and no other owner has its number.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Puts a copy at this number, whatever was open there: dup2(2).
fn place(socket: &OwnedFd, number: RawFd) -> std::io::Result<()> {
    // SAFETY: in the new process before exec(2) no code uses what had this number; dup2(2) takes any two numbers.
    match unsafe { libc::dup2(socket.as_raw_fd(), number) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// An address that no other test has: all of 127.0.0.0/8 is this machine.
pub fn own_address() -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high, low, COUNT.fetch_add(1, Ordering::Relaxed));
    SocketAddrV4::new(ip, 4711).into()
}
