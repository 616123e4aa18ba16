//! A program in a session of its own, so that whatever it leaves behind can be found.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid, setsid};

use super::before_exec::before_exec;
use super::{Program, alive_with, status_of, until};

/// A program and all its descendants, but for those that made a session of their own. They end with it.
pub struct Session(Program);

impl Session {
    pub fn start(command: &mut Command) -> Session {
        Session::start_with_stderr(command, Stdio::piped())
    }

    pub fn start_with_stderr(command: &mut Command, stderr: Stdio) -> Session {
        Session::try_start(command, stderr).expect("the program starts")
    }

    /// The same, where the system may refuse.
    pub fn try_start(command: &mut Command, stderr: Stdio) -> io::Result<Session> {
        before_exec(command, || setsid().map(drop).map_err(Into::into));
        Program::try_start(command, stderr).map(Session)
    }

    /// Starts the program as a user that no other process has, where this is root: root is above most limits and
    /// permissions. `None` where others may not run what was built here.
    pub fn start_as_nobody_else(command: &mut Command, stderr: Stdio) -> Option<Session> {
        static USERS: AtomicU32 = AtomicU32::new(0);
        if geteuid().is_root() {
            let user = 1_000_000 + std::process::id() * 16 + USERS.fetch_add(1, Ordering::Relaxed);
            command.uid(user).gid(user);
        }
        match Session::try_start(command, stderr) {
            Ok(session) => Some(session),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sets how many processes the user of this running program may have, as the program sees it: prlimit(1). Its user
    /// may do so.
    pub fn limit_processes(&self, limit: &str) {
        let mut prlimit = Command::new("prlimit");
        prlimit.arg(format!("--pid={}", self.pid())).arg(format!("--nproc={limit}:")).stdin(Stdio::null());
        if geteuid().is_root() {
            let user = status_of(self.pid(), "Uid");
            let user = user.split('\t').next().and_then(|user| user.parse().ok()).expect("a user");
            prlimit.uid(user).gid(user);
        }
        let output = prlimit.output().expect("prlimit(1)");
        assert!(output.status.success(), "{output:?}");
    }

    /// Takes the limit away that was set.
    pub fn limit_processes_as_usual(&self) {
        let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).expect("a limit");
        self.limit_processes(&if soft == RLIM_INFINITY { "unlimited".to_owned() } else { soft.to_string() });
    }

    /// Who is alive in it.
    pub fn members(&self) -> Vec<i32> {
        alive_with(3, self.pid())
    }

    /// Waits until nobody is alive in it.
    pub fn wait_until_empty(&self) {
        until("nobody is left of the session", || self.members().is_empty().then_some(()));
    }
}

impl Deref for Session {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.0
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for member in self.members() {
            let _ = kill(Pid::from_raw(member), Signal::SIGKILL);
        }
    }
}
