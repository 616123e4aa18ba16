//! A program in a session of its own, so that whatever it leaves behind can be found.

use std::fs;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid, setsid};

use super::before_exec::before_exec;
use super::{Program, alive_with, all_processes, is_alive, status_of, until};

/// A program and all its descendants, but for those that made a session of their own as the user that runs the tests. They
/// end with it.
pub struct Session {
    program: Program,
    mark: String,
}

/// The environment variable by which descendants are known.
const MARK: &str = "TESTED_SESSION";

impl Session {
    pub fn start(command: &mut Command) -> Session {
        Session::start_with_stderr(command, Stdio::piped())
    }

    pub fn start_with_stderr(command: &mut Command, stderr: Stdio) -> Session {
        Session::try_start(command, stderr).expect("the program starts")
    }

    /// Starts a program that the system may refuse.
    pub fn try_start(command: &mut Command, stderr: Stdio) -> io::Result<Session> {
        static SESSIONS: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}.{}", std::process::id(), SESSIONS.fetch_add(1, Ordering::Relaxed));
        before_exec(command.env(MARK, &mark), || setsid().map(drop).map_err(Into::into));
        Ok(Session { program: Program::try_start(command, stderr)?, mark })
    }

    /// Starts the program as a user that no other process has, where this is root: root is above most limits and
    /// permissions. `None` where others may not run what was built here.
    pub fn start_as_a_user_of_its_own(command: &mut Command, stderr: Stdio) -> Option<Session> {
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

    /// Who is alive in it. Workers that are another user have a session each.
    pub fn members(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}", self.mark);
        let is_marked = |pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let is_another = |pid: i32| {
            let owner = format!("{}\t", geteuid());
            fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
                status.lines().any(|line| line.starts_with("Uid:\t") && !line[5..].starts_with(&owner))
            })
        };
        let mut members = alive_with(3, self.pid());
        let others = all_processes().filter(|&pid| is_another(pid) && is_marked(pid) && is_alive(pid));
        members.extend(others.filter(|pid| !members.contains(pid)).collect::<Vec<_>>());
        members
    }

    /// Waits until no process is alive in it.
    pub fn wait_until_empty(&self) {
        until("no process is left of the session", || self.members().is_empty().then_some(()));
    }
}

impl Deref for Session {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for member in self.members() {
            let _ = kill(Pid::from_raw(member), Signal::SIGKILL);
        }
    }
}
