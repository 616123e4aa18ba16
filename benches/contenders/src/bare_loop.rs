//! The least that keeps N workers alive: it forks them, waits, replaces those that fail, passes SIGTERM on and reaps.

use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::board::MOST_WORKERS;
use crate::contest::refuse;
use crate::{body, gigabyte};

static PIDS: [AtomicI32; MOST_WORKERS] = [const { AtomicI32::new(0) }; MOST_WORKERS];
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Runs the body that has this name.
pub fn contend(name: &str, workers: usize) -> ExitCode {
    match name {
        "wait" => run(workers, |task_id| body::wait(task_id)),
        "end" => run(workers, |task_id| {
            body::end(task_id);
            0
        }),
        "crash" => run(workers, body::crash),
        "preloaded" => {
            gigabyte::in_small_pages();
            run(workers, |task_id| body::wait(task_id))
        }
        "read" => {
            gigabyte::in_small_pages();
            run(workers, |task_id| body::read(task_id, gigabyte::in_small_pages()))
        }
        _ => refuse(name),
    }
}

/// Runs a body in each of the workers, and returns when all have done their work or a SIGTERM came. What the body returns
/// is the exit status.
fn run(workers: usize, body: fn(usize) -> u8) -> ExitCode {
    set_sigterm(SigHandler::Handler(stop_workers));
    for task_id in (0..workers).take_while(|_| !STOPPING.load(SeqCst)) {
        fork_worker(task_id, body);
    }
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(_, 0)) => {}
            Ok(_) if STOPPING.load(SeqCst) => {}
            Ok(status) => {
                let pid = status.pid().expect("a process ended").as_raw();
                let task_id = PIDS.iter().position(|worker| worker.load(SeqCst) == pid).expect("a worker");
                fork_worker(task_id, body);
            }
            Err(Errno::EINTR) => {}
            Err(_) => return ExitCode::SUCCESS,
        }
    }
}

fn fork_worker(task_id: usize, body: fn(usize) -> u8) {
    // SAFETY: this process has one thread.
    match unsafe { fork() }.expect("fork(2)") {
        ForkResult::Parent { child } => {
            PIDS[task_id].store(child.as_raw(), SeqCst);
            if STOPPING.load(SeqCst) {
                // The handler ran before this worker was noted.
                let _ = kill(child, Signal::SIGTERM);
            }
        }
        ForkResult::Child => {
            set_sigterm(SigHandler::SigDfl);
            if STOPPING.load(SeqCst) {
                // The handler ran here, so that the signal did not end this worker.
                process::exit(0);
            }
            process::exit(body(task_id).into())
        }
    }
}

extern "C" fn stop_workers(_: i32) {
    STOPPING.store(true, SeqCst);
    for worker in PIDS.iter().map(|pid| pid.load(SeqCst)).take_while(|&pid| pid != 0) {
        let _ = kill(Pid::from_raw(worker), Signal::SIGTERM);
    }
}

fn set_sigterm(handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only reads and sets atomics and calls kill(2).
    unsafe { sigaction(Signal::SIGTERM, &action) }.expect("sigaction(2)");
}
