//! A contender that runs, as the process that measures sees it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, ftruncate};

use super::board::{Board, map, now};
use crate::contest;

pub const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Log {
    Null,
    Pipe,
}

/// A supervisor that runs, and its workers.
pub struct Contender {
    process: Child,
    wakes: ChildStdout,
    pub board: &'static Board,
    workers: usize,
}

impl Contender {
    /// Starts one and waits until all workers run.
    pub fn start(name: &str, workers: usize, log: Log) -> Contender {
        let shared = memfd_create("board", MFdFlags::MFD_CLOEXEC).expect("memfd_create(2)");
        ftruncate(&shared, size_of::<Board>().try_into().expect("small")).expect("ftruncate(2)");
        let board = map(&shared);
        board.awaited.store(workers as u64, SeqCst);
        let mut command = contest::contender(name, workers);
        command.stdin(File::from(shared)).stdout(Stdio::piped());
        command.stderr(if log == Log::Pipe { Stdio::piped() } else { Stdio::null() });
        let mut process = command.spawn().expect("this program runs");
        if let Some(mut lines) = process.stderr.take() {
            std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
        }
        let wakes = process.stdout.take().expect("piped");
        let mut contender = Contender { process, wakes, board, workers };
        contender.wait_for_report();
        contender
    }

    pub fn wait_for_report(&mut self) {
        self.wait_for(PollFlags::POLLIN);
        self.wakes.read_exact(&mut [0]).expect("a report");
    }

    /// POLLIN: a report is there. POLLHUP: every process that could report is gone.
    pub fn wait_for(&self, event: PollFlags) {
        let mut ready = [PollFd::new(self.wakes.as_fd(), event & PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(DEADLINE).expect("fits");
        assert_eq!(poll(&mut ready, timeout), Ok(1), "waited in vain for {event:?}");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().expect("a process id"))
    }

    pub fn worker(&self, task_id: usize) -> Pid {
        Pid::from_raw(self.board.slots[task_id].pid.load(SeqCst))
    }

    /// From before the first fork to the last worker running.
    pub fn start_time(&self) -> u64 {
        let slots = self.board.slots[..self.workers].iter();
        let last = slots.map(|slot| slot.running_since.load(SeqCst)).max().expect("a worker");
        last - self.board.first_fork.load(SeqCst)
    }

    pub fn set_up_time(&self) -> u64 {
        self.board.first_fork.load(SeqCst) - self.board.called.load(SeqCst)
    }

    /// Kills a worker and waits for its replacement.
    pub fn restart_time(&mut self, task_id: usize) -> u64 {
        let before = self.worker(task_id);
        self.board.awaited.store(self.board.reports.load(SeqCst) + 1, SeqCst);
        let start = now();
        kill(before, Signal::SIGKILL).expect("the worker is alive");
        self.wait_for_report();
        assert_ne!(self.worker(task_id), before, "the replacement has the same task id");
        self.board.slots[task_id].running_since.load(SeqCst) - start
    }

    /// Stops the supervisor and waits until it is gone, which it may be only after its workers.
    pub fn stop_time(mut self) -> u64 {
        let start = now();
        kill(self.pid(), Signal::SIGTERM).expect("the supervisor is alive");
        self.wait_for(PollFlags::POLLHUP);
        let status = self.process.wait().expect("it is our child");
        let end = now();
        assert!(status.success(), "the supervisor stops in order: {status}");
        for task_id in 0..self.workers {
            assert_eq!(kill(self.worker(task_id), None), Err(Errno::ESRCH), "a worker is left behind");
        }
        end - start
    }

    /// Context switches, CPU ticks.
    pub fn activity(&self) -> (u64, u64) {
        let read = |name| fs::read_to_string(format!("/proc/{}/{name}", self.pid())).expect("it is alive");
        let status = read("status");
        let switches = status.lines().filter(|line| line.contains("voluntary_ctxt_switches:")).map(last_number);
        let stat = read("stat");
        let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
        // Fields 14 and 15 of proc_pid_stat(5); the state is the third.
        let ticks = after_name.split(' ').skip(14 - 3).take(2).map(last_number);
        (switches.sum(), ticks.sum())
    }

    /// How often it went to sleep of its own accord.
    pub fn wakeups(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it is alive");
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"));
        last_number(line.expect("a line of status"))
    }

    pub fn private_dirty_kilobytes(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).expect("it is alive");
        let line = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).expect("a line of smaps_rollup");
        last_number(line.trim_end_matches(" kB"))
    }
}

impl Drop for Contender {
    /// Nothing is left behind, also when an assertion fails.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        for worker in (0..self.workers).map(|task_id| self.worker(task_id)).filter(|pid| pid.as_raw() != 0) {
            let _ = kill(worker, Signal::SIGKILL);
        }
    }
}

pub fn last_number(line: &str) -> u64 {
    line.split_whitespace().last().and_then(|word| word.parse().ok()).expect("ends with a number")
}
