//! Which worker this process is, or none. It must not know what a worker has or does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Which worker this is: a handle that is an argument of `main`, of the body of [`Prefork::run`](crate::Prefork::run)
/// and of [`after_fork`](crate::after_fork) hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    pub(crate) task_id: usize,
    pub(crate) workers: usize,
    pub(crate) restarts: usize,
}

static IS_WORKER: AtomicBool = AtomicBool::new(false);
static TASK_ID: AtomicUsize = AtomicUsize::new(0);
static WORKERS: AtomicUsize = AtomicUsize::new(0);
static RESTARTS: AtomicUsize = AtomicUsize::new(0);

/// The task id of this worker; `None` outside a worker, as Tornado's `task_id()`. `Some(0)` under `PREFORK=off`.
pub fn task_id() -> Option<usize> {
    worker().map(|worker| worker.task_id)
}

/// The handle of this worker; `None` outside a worker.
///
/// For code that does not get it as an argument, such as a `main` whose runtime attribute stands above `#[prefork]`.
pub fn worker() -> Option<Worker> {
    IS_WORKER.load(Ordering::Acquire).then(|| Worker {
        task_id: TASK_ID.load(Ordering::Relaxed),
        workers: WORKERS.load(Ordering::Relaxed),
        restarts: RESTARTS.load(Ordering::Relaxed),
    })
}

/// Makes this process a worker. It becomes one once: a worker cannot start workers.
pub(crate) fn become_worker(worker: Worker) {
    TASK_ID.store(worker.task_id, Ordering::Relaxed);
    WORKERS.store(worker.workers, Ordering::Relaxed);
    RESTARTS.store(worker.restarts, Ordering::Relaxed);
    let before = IS_WORKER.swap(true, Ordering::Release);
    debug_assert!(!before, "the supervisor forks, and a supervisor is no worker");
}
