//! A server that runs, seen from outside: its workers are its children, and a worker counts as soon as it
//! is forked.
//!
//! The process that measures adopts the workers that lose their server, so that none is left behind, and no signal goes
//! to a process id that is another process's by then.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use contenders::board::now;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::{set_pdeathsig, set_timerslack};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::bench::interruption;
use crate::bench::process::{children, is_alive};

/// How much later than asked a process may wake, in nanoseconds: prctl(2).
const DEFAULT_SLACK: u64 = 50_000;
pub const EXACT_SLACK: u64 = 1_000;

const DEADLINE: Duration = Duration::from_secs(60);

/// How often the kernel is asked for the newest process, and how often the server is looked at when there is none.
const INTERVAL: Duration = Duration::from_micros(30);
const LOOK: Duration = Duration::from_millis(100);

pub struct Watched {
    server: Child,
    workers: usize,
    /// The children that were seen last.
    seen: BTreeSet<Pid>,
    /// What it writes there is kept in memory.
    stderr: File,
}

impl Watched {
    /// Starts it and waits until it has this many children: the time since just before the exec, too.
    pub fn start(mut command: Command, workers: usize) -> Result<(Watched, f64), String> {
        let stderr = File::from(memfd_create("stderr", MFdFlags::MFD_CLOEXEC).expect("memfd_create(2)"));
        let prepare = || {
            set_pdeathsig(Signal::SIGTERM)?;
            // Not that of the process that measures.
            Ok(set_timerslack(DEFAULT_SLACK)?)
        };
        // SAFETY: between fork and exec the closure makes system calls only, prctl(2), and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(stderr.try_clone().expect("a descriptor is free"));
        let mut newest = Newest::new();
        let start = now();
        let server = command.spawn().map_err(|error| error.to_string())?;
        let mut watched = Watched { server, workers, seen: BTreeSet::new(), stderr };
        let end = watched.wait_for_others(&BTreeSet::new(), &mut newest)?;
        Ok((watched, (end - start) as f64))
    }

    /// Kills this many workers, and waits for as many in their place.
    pub fn replace(&mut self, count: usize) -> Result<f64, String> {
        let victims: BTreeSet<Pid> = self.seen.iter().copied().take(count).collect();
        let mut newest = Newest::new();
        let start = now();
        for &victim in &victims {
            kill(victim, Signal::SIGKILL).map_err(|error| format!("worker {victim} cannot be killed: {error}"))?;
        }
        Ok((self.wait_for_others(&victims, &mut newest)? - start) as f64)
    }

    /// Ends it by SIGTERM and waits until it and all its workers are gone.
    pub fn stop(&mut self) -> Result<f64, String> {
        let start = now();
        kill(self.pid(), Signal::SIGTERM).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + DEADLINE;
        while self.status()?.is_none() || orphans().into_iter().any(is_alive) {
            self.pause(deadline, "everything is gone")?;
        }
        Ok((now() - start) as f64)
    }

    /// When the last process was forked before it had all its workers, and none of these. Its children are looked at only
    /// when no other one was forked since the last moment: where they are many, that takes long.
    fn wait_for_others(&mut self, victims: &BTreeSet<Pid>, newest: &mut Newest) -> Result<u64, String> {
        let deadline = Instant::now() + DEADLINE;
        let mut forked = now();
        let mut next_look = Instant::now() + LOOK;
        loop {
            if newest.has_changed() {
                forked = now();
                next_look = Instant::now();
            } else if Instant::now() >= next_look {
                if self.has_others(victims)? {
                    return Ok(forked);
                }
                next_look = Instant::now() + LOOK;
            }
            self.pause(deadline, "all workers run")?;
        }
    }

    fn has_others(&mut self, victims: &BTreeSet<Pid>) -> Result<bool, String> {
        if let Some(status) = self.status()? {
            return Err(format!("it ended: {status}: {}", self.last_words()));
        }
        self.seen = children(self.pid()).into_iter().collect();
        Ok(self.seen.len() == self.workers && self.seen.is_disjoint(victims))
    }

    fn pause(&self, deadline: Instant, until: &str) -> Result<(), String> {
        interruption::check();
        if Instant::now() > deadline {
            let (wanted, seen) = (self.workers, self.seen.len());
            return Err(format!("waited in vain until {until}: of {wanted} workers, {seen} were seen"));
        }
        sleep(INTERVAL);
        Ok(())
    }

    fn status(&mut self) -> Result<Option<String>, String> {
        let status = self.server.try_wait().map_err(|error| error.to_string())?;
        Ok(status.map(|status| status.to_string()))
    }

    fn last_words(&mut self) -> String {
        let mut text = String::new();
        let read = self.stderr.rewind().and_then(|()| self.stderr.read_to_string(&mut text));
        read.expect("a file in memory, of text");
        text.lines().last().unwrap_or("it wrote nothing").to_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.server.id().try_into().expect("a process id"))
    }
}

impl Drop for Watched {
    /// Nothing is left behind, whatever it does when it is told to stop.
    fn drop(&mut self) {
        // Open until the end: interpreters that read it would take their time to leave.
        let _stdin = self.server.stdin.take();
        let _ = self.server.kill();
        let _ = self.server.wait();
        // A worker that is adopted may have forked others.
        loop {
            let orphans = orphans();
            if orphans.is_empty() {
                return;
            }
            for &orphan in &orphans {
                let _ = kill(orphan, Signal::SIGKILL);
            }
            for orphan in orphans {
                let _ = waitpid(orphan, None);
            }
        }
    }
}

/// Workers whose server has ended: this process has no other children then.
fn orphans() -> Vec<Pid> {
    children(Pid::this())
}

/// Whether the system has forked: proc_loadavg(5) ends with the process id that was given last. On a quiet machine that is
/// the server's newest worker, and asking takes equally long among however many.
struct Newest {
    file: File,
    last: Vec<u8>,
}

impl Newest {
    fn new() -> Newest {
        let mut newest = Newest { file: File::open("/proc/loadavg").expect("proc(5)"), last: Vec::new() };
        newest.has_changed();
        newest
    }

    fn has_changed(&mut self) -> bool {
        let mut line = [0; 128];
        let length = self.file.read_at(&mut line, 0).expect("proc(5)");
        let last = line[..length].rsplit(|&byte| byte == b' ').next().expect("five fields");
        let has_changed = last != self.last;
        self.last = last.to_owned();
        has_changed
    }
}
