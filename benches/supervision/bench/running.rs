//! A contender that runs, as the process that measures sees it.

use std::fs::File;
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use contenders::board::{Board, map, now};
use contenders::contest::PARENT;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, ftruncate, getpid};

use super::interruption;

const DEADLINE: Duration = Duration::from_secs(120);

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
    /// Starts a program, with no environment but these variables, and waits until all workers run.
    pub fn start(program: &Path, body: &str, variables: &[(&str, &str)], workers: usize, log: Log) -> Running {
        let shared = memfd_create("board", MFdFlags::MFD_CLOEXEC).expect("memfd_create(2)");
        ftruncate(&shared, size_of::<Board>().try_into().expect("small")).expect("ftruncate(2)");
        let board = map(&shared).expect("mmap(2)");
        board.awaited.store(workers as u64, SeqCst);
        let mut command = Command::new(program);
        command.args([body, &workers.to_string()]).env_clear().env(PARENT, getpid().to_string());
        command.envs(variables.iter().copied());
        command.stdin(File::from(shared)).stdout(Stdio::piped());
        command.stderr(if log == Log::Pipe { Stdio::piped() } else { Stdio::null() });
        let asked = now();
        let mut process = command.spawn().expect("the program was built");
        if let Some(mut lines) = process.stderr.take() {
            std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
        }
        let wakes = process.stdout.take().expect("piped");
        let mut running = Running { process, wakes, asked, board, workers };
        running.wait_for_reports();
        running
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().expect("a process id"))
    }

    pub fn workers(&self) -> impl ExactSizeIterator<Item = Pid> {
        (0..self.workers).map(|task_id| self.worker(task_id))
    }

    fn worker(&self, task_id: usize) -> Pid {
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
        let worker = self.worker(task_id);
        self.time_of_replacing(&[task_id], || kill(worker, Signal::SIGKILL).expect("the worker is alive"))
    }

    /// From just before the first SIGKILL, of one to every worker, to the last replacement's first statement.
    pub fn burst_time(&mut self) -> f64 {
        let workers = Vec::from_iter(self.workers());
        self.time_of_replacing(&Vec::from_iter(0..self.workers), || {
            workers.iter().for_each(|&worker| kill(worker, Signal::SIGKILL).expect("the worker is alive"));
        })
    }

    /// From just before SIGHUP, which reloads the pool, to the end of the last worker that it replaces.
    pub fn reload_time(&mut self) -> f64 {
        let before = Vec::from_iter(self.workers());
        let supervisor = self.pid();
        let start = now();
        self.time_of_replacing(&Vec::from_iter(0..self.workers), || {
            kill(supervisor, Signal::SIGHUP).expect("the supervisor is alive");
        });
        while super::process::children(supervisor).iter().any(|child| before.contains(child)) {
            interruption::check();
            std::thread::sleep(Duration::from_millis(2));
        }
        (now() - start) as f64
    }

    /// From just before this action to the first statement of the last worker that takes the place of one of these.
    fn time_of_replacing(&mut self, task_ids: &[usize], action: impl FnOnce()) -> f64 {
        let before: Vec<Pid> = task_ids.iter().map(|&task_id| self.worker(task_id)).collect();
        self.board.awaited.store(self.board.reports.load(SeqCst) + task_ids.len() as u64, SeqCst);
        let start = now();
        action();
        self.wait_for_reports();
        let replaced = task_ids.iter().zip(before).all(|(&task_id, before)| self.worker(task_id) != before);
        assert!(replaced, "each worker is replaced by one of its task id");
        let since = task_ids.iter().map(|&task_id| self.board.slots[task_id].running_since.load(SeqCst));
        (since.max().expect("at least one task id") - start) as f64
    }

    /// Stops the supervisor and waits until it is gone, and with it all that could report.
    pub fn stop_time(self) -> f64 {
        let start = now();
        let status = self.end_by_sigterm();
        let end = now();
        assert!(status.success(), "the supervisor stops in order: {status}");
        (end - start) as f64
    }

    /// As `stop_time`, whatever its status is: in a crash loop a worker may fail just then.
    pub fn end_by_sigterm(mut self) -> ExitStatus {
        kill(self.pid(), Signal::SIGTERM).expect("the supervisor is alive");
        self.wait_for_end()
    }

    /// Waits for the end of a supervisor whose workers have done their work.
    pub fn end(mut self) {
        let status = self.wait_for_end();
        assert!(status.success(), "the supervisor ends in order: {status}");
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        self.wait_for(PollFlags::POLLHUP);
        self.process.wait().expect("it is our child")
    }

    fn wait_for_reports(&mut self) {
        self.wait_for(PollFlags::POLLIN);
        self.wakes.read_exact(&mut [0]).expect("a report");
    }

    /// POLLIN: a report is there. POLLHUP: every process that could report is gone.
    fn wait_for(&self, event: PollFlags) {
        let mut ready = [PollFd::new(self.wakes.as_fd(), event & PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(DEADLINE).expect("fits");
        let polled = poll(&mut ready, timeout);
        interruption::check();
        assert_eq!(polled, Ok(1), "waited in vain for {event:?}");
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
        for worker in self.workers().filter(|pid| pid.as_raw() != 0) {
            let _ = kill(worker, Signal::SIGKILL);
        }
    }
}
