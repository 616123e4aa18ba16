//! Which worker this process is, or none. It must not know what a worker has or does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Which of the workers a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) task_id: usize,
    pub(crate) workers: usize,
    pub(crate) restarts: usize,
}

static IS_WORKER: AtomicBool = AtomicBool::new(false);
static TASK_ID: AtomicUsize = AtomicUsize::new(0);
static WORKERS: AtomicUsize = AtomicUsize::new(0);
static RESTARTS: AtomicUsize = AtomicUsize::new(0);

/// The task id of this worker; `None` outside a worker, as Tornado's `task_id()`. `Some(0)` under `PREFORK=off`.
///
/// For code that does not get the [`Worker`](crate::Worker), such as a log formatter:
///
/// ```
/// let name = match prefork_rt::task_id() {
///     Some(task_id) => format!("worker {task_id}"),
///     None => "supervisor".to_owned(),
/// };
/// assert_eq!(name, "supervisor");
/// ```
pub fn task_id() -> Option<usize> {
    identity().map(|identity| identity.task_id)
}

/// Which of the workers this process is; `None` outside a worker.
pub(crate) fn identity() -> Option<Identity> {
    IS_WORKER.load(Ordering::Acquire).then(|| Identity {
        task_id: TASK_ID.load(Ordering::Relaxed),
        workers: WORKERS.load(Ordering::Relaxed),
        restarts: RESTARTS.load(Ordering::Relaxed),
    })
}

/// Makes this process a worker. It becomes one once: a worker cannot start workers.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn become_worker(identity: Identity) {
    TASK_ID.store(identity.task_id, Ordering::Relaxed);
    WORKERS.store(identity.workers, Ordering::Relaxed);
    RESTARTS.store(identity.restarts, Ordering::Relaxed);
    let before = IS_WORKER.swap(true, Ordering::Release);
    debug_assert!(!before, "the supervisor forks, and a supervisor is no worker");
}
