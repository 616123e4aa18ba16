//! The least that keeps N workers alive: it forks them, waits, replaces those that died, passes SIGTERM on and reaps.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

use crate::board::MOST_WORKERS;

static PIDS: [AtomicI32; MOST_WORKERS] = [const { AtomicI32::new(0) }; MOST_WORKERS];
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Runs this body in as many workers, until a SIGTERM.
pub fn bare_loop(workers: usize, body: fn(usize) -> !) -> ExitCode {
    set_sigterm(SigHandler::Handler(stop_workers));
    for task_id in 0..workers {
        fork_worker(task_id, body);
    }
    loop {
        match waitpid(None, None) {
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

fn fork_worker(task_id: usize, body: fn(usize) -> !) {
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
            body(task_id)
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
