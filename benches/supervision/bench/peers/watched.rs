//! A server that runs, seen from outside: its workers are its children, and a worker counts as soon as it is forked.
//!
//! The process that measures adopts the workers that lose their server, so that none is left behind, and no signal goes
//! to a process id that is another process's by then.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use contenders::board::now;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::bench::interruption;
use crate::bench::process::{children, is_alive};

const DEADLINE: Duration = Duration::from_secs(60);

/// How often it is looked at, at most. The kernel adds about 50 µs.
const INTERVAL: Duration = Duration::from_micros(100);

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
        // SAFETY: between fork and exec the closure makes one system call, prctl(2), which allocates nothing.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?)) };
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(stderr.try_clone().expect("a descriptor is free"));
        let start = now();
        let server = command.spawn().map_err(|error| error.to_string())?;
        let mut watched = Watched { server, workers, seen: BTreeSet::new(), stderr };
        watched.wait_for_others(&BTreeSet::new())?;
        Ok((watched, since(start)))
    }

    /// Kills this many workers, and waits for as many in their place.
    pub fn replace(&mut self, count: usize) -> Result<f64, String> {
        let victims: BTreeSet<Pid> = self.seen.iter().copied().take(count).collect();
        let start = now();
        for &victim in &victims {
            kill(victim, Signal::SIGKILL).map_err(|error| format!("worker {victim} cannot be killed: {error}"))?;
        }
        self.wait_for_others(&victims)?;
        Ok(since(start))
    }

    /// Ends it by SIGTERM and waits until it and all its workers are gone.
    pub fn stop(&mut self) -> Result<f64, String> {
        let start = now();
        kill(self.pid(), Signal::SIGTERM).map_err(|error| error.to_string())?;
        self.wait_until("everything is gone", |watched| {
            Ok(watched.status()?.is_some() && !orphans().into_iter().any(is_alive))
        })?;
        Ok(since(start))
    }

    fn wait_for_others(&mut self, victims: &BTreeSet<Pid>) -> Result<(), String> {
        self.wait_until("all workers run", |watched| {
            watched.seen = children(watched.pid()).into_iter().collect();
            match watched.status()? {
                Some(status) => Err(format!("it ended: {status}: {}", watched.last_words())),
                None => Ok(watched.seen.len() == watched.workers && watched.seen.is_disjoint(victims)),
            }
        })
    }

    fn wait_until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&mut Watched) -> Result<bool, String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let look = Instant::now();
            if is_so(self)? {
                return Ok(());
            }
            interruption::check();
            if look > deadline {
                let (wanted, seen) = (self.workers, self.seen.len());
                return Err(format!("waited in vain until {what}: of {wanted} workers, {seen} were seen"));
            }
            // Among many workers a look takes long: it is to leave half of a CPU at least.
            sleep(INTERVAL.max(look.elapsed()));
        }
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

fn since(start: u64) -> f64 {
    (now() - start) as f64
}
