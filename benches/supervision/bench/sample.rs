//! One contestant's turn: it is started anew, and yields samples.

use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::Duration;

use contenders::board::now;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use super::cases::{Action, Case};
use super::process;
use super::running::Running;

/// After the last worker's first statement its supervisor still has to come to rest.
pub const SETTLE: Duration = Duration::from_millis(3);

/// How long a crash loop is watched.
const CRASHING: Duration = Duration::from_millis(300);

/// Samples that have a figure for each row of the case.
pub fn sample(case: &Case, program: &Path, body: &str) -> Vec<Vec<f64>> {
    let start = |workers| Running::start(program, body, case.variables, workers, case.log);
    let samples = match case.action {
        Action::StartAndStop => {
            let running = start_and_settle(start, case);
            vec![vec![running.start_time(), running.stop_time()]]
        }
        Action::Stop => vec![vec![start_and_settle(start, case).stop_time()]],
        Action::Restart => restart(start_and_settle(start, case), case),
        Action::Burst => burst(start_and_settle(start, case)),
        Action::CrashLoop => crash_loop(|| start(case.workers)),
        Action::Worker => life_of_a_worker(|workers| start(workers).end(), case.workers),
        Action::PrivateMemory => private_memory(start_and_settle(start, case)),
        Action::SharedMemory => shared_memory(start_and_settle(start, case)),
    };
    // What the kernel still has to clear up is not the next one's burden.
    sleep(SETTLE);
    samples
}

fn start_and_settle(start: impl Fn(usize) -> Running, case: &Case) -> Running {
    let running = start(case.workers);
    sleep(SETTLE);
    running
}

/// One worker after another is killed.
fn restart(mut running: Running, case: &Case) -> Vec<Vec<f64>> {
    let times = (0..case.times).map(|time| {
        let sample = running.restart_time(time % case.workers);
        sleep(SETTLE);
        vec![sample]
    });
    let samples = times.collect();
    running.stop_time();
    samples
}

fn burst(mut running: Running) -> Vec<Vec<f64>> {
    let sample = running.burst_time();
    sleep(SETTLE);
    running.stop_time();
    vec![vec![sample]]
}

/// Time and CPU for each restart. The CPU is that of the whole run, over all workers of it.
fn crash_loop(start: impl Fn() -> Running) -> Vec<Vec<f64>> {
    let before = used();
    let running = start();
    let reports = || running.board.reports.load(SeqCst) as f64;
    let (first, since) = (reports(), now());
    sleep(CRASHING);
    let time = (now() - since) as f64 / (reports() - first);
    let board = running.board;
    running.end_by_sigterm();
    vec![vec![time, used().since(before).cpu / board.reports.load(SeqCst) as f64]]
}

/// CPU and page faults of supervisor and workers, for each worker more than one.
fn life_of_a_worker(run: impl Fn(usize), workers: usize) -> Vec<Vec<f64>> {
    let [one, all] = [1, workers + 1].map(|workers| {
        let before = used();
        run(workers);
        used().since(before)
    });
    let of_each = |of_one: f64, of_all: f64| (of_all - of_one) / workers as f64;
    vec![vec![of_each(one.cpu, all.cpu), of_each(one.faults, all.faults)]]
}

fn private_memory(running: Running) -> Vec<Vec<f64>> {
    let private_dirty = |pid| process::kilobytes(pid, "Private_Dirty:") as f64;
    let of_workers: f64 = running.workers().map(private_dirty).sum();
    let sample = vec![private_dirty(running.pid()), of_workers / running.workers().len() as f64];
    running.stop_time();
    vec![sample]
}

/// Of the supervisor and all workers: a page that several have counts once.
fn shared_memory(running: Running) -> Vec<Vec<f64>> {
    let all = running.workers().chain([running.pid()]);
    let sample = all.map(|pid| process::kilobytes(pid, "Pss:") as f64).sum();
    running.stop_time();
    vec![vec![sample]]
}

/// What all processes used that have been waited for, and those that they waited for.
#[derive(Clone, Copy)]
struct Used {
    /// In nanoseconds.
    cpu: f64,
    faults: f64,
}

fn used() -> Used {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage(2)");
    let cpu: TimeVal = usage.user_time() + usage.system_time();
    Used { cpu: cpu.num_microseconds() as f64 * 1e3, faults: usage.minor_page_faults() as f64 }
}

impl Used {
    fn since(self, before: Used) -> Used {
        Used { cpu: self.cpu - before.cpu, faults: self.faults - before.faults }
    }
}
