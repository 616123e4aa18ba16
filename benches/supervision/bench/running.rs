//! A contender that runs, as the process that measures sees it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, ftruncate, getpid};

use contenders::board::{Board, map, now};
use contenders::contest::PARENT;

use super::programs;
use super::rows::Contestant;

const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Log {
    Null,
    Pipe,
}

/// A supervisor that runs, and its workers.
pub struct Running {
    process: Child,
    wakes: ChildStdout,
    /// Just before it was executed.
    asked: u64,
    pub board: &'static Board,
    workers: usize,
}

impl Running {
    /// Starts one, with an empty environment, and waits until all workers run.
    pub fn start((program, name): Contestant, workers: usize, log: Log) -> Running {
        let shared = memfd_create("board", MFdFlags::MFD_CLOEXEC).expect("memfd_create(2)");
        ftruncate(&shared, size_of::<Board>().try_into().expect("small")).expect("ftruncate(2)");
        let board = map(&shared).expect("mmap(2)");
        board.awaited.store(workers as u64, SeqCst);
        let mut command = Command::new(programs::path(program));
        command.args([name, &workers.to_string()]).env_clear().env(PARENT, getpid().to_string());
        command.stdin(File::from(shared)).stdout(Stdio::piped());
        command.stderr(if log == Log::Pipe { Stdio::piped() } else { Stdio::null() });
        let asked = now();
        let mut process = command.spawn().expect("the program was built");
        if let Some(mut lines) = process.stderr.take() {
            std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
        }
        let wakes = process.stdout.take().expect("piped");
        let mut running = Running { process, wakes, asked, board, workers };
        running.wait_for_report();
        running
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

    /// From just before the exec of the supervisor to the last worker's first statement.
    pub fn start_time(&self) -> f64 {
        let slots = self.board.slots[..self.workers].iter();
        let last = slots.map(|slot| slot.running_since.load(SeqCst)).max().expect("a worker");
        (last - self.asked) as f64
    }

    /// From just before SIGKILL to this worker to its replacement's first statement.
    pub fn restart_time(&mut self, task_id: usize) -> f64 {
        self.kill_and_wait(&[task_id])
    }

    /// From just before the first SIGKILL, of one to every worker, to the last replacement's first statement.
    pub fn burst_time(&mut self) -> f64 {
        self.kill_and_wait(&Vec::from_iter(0..self.workers))
    }

    fn kill_and_wait(&mut self, task_ids: &[usize]) -> f64 {
        let before: Vec<Pid> = task_ids.iter().map(|&task_id| self.worker(task_id)).collect();
        self.board.awaited.store(self.board.reports.load(SeqCst) + task_ids.len() as u64, SeqCst);
        let start = now();
        for &worker in &before {
            kill(worker, Signal::SIGKILL).expect("the worker is alive");
        }
        self.wait_for_report();
        let replaced = task_ids.iter().zip(before).all(|(&task_id, before)| self.worker(task_id) != before);
        assert!(replaced, "each replacement has the task id of a worker that was killed");
        let since = task_ids.iter().map(|&task_id| self.board.slots[task_id].running_since.load(SeqCst));
        (since.max().expect("one was killed") - start) as f64
    }

    /// Stops the supervisor and waits until it is gone, and with it all that could report.
    pub fn stop_time(mut self) -> f64 {
        let start = now();
        kill(self.pid(), Signal::SIGTERM).expect("the supervisor is alive");
        self.wait_for(PollFlags::POLLHUP);
        let status = self.process.wait().expect("it is our child");
        let end = now();
        assert!(status.success(), "the supervisor stops in order: {status}");
        (end - start) as f64
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

impl Drop for Running {
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

fn last_number(line: &str) -> u64 {
    line.split_whitespace().last().and_then(|word| word.parse().ok()).expect("ends with a number")
}
