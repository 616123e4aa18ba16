//! The tie between a worker and its supervisor, which no worker outlives.
//!
//! It must not know what a supervisor does.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::error::Error;
use crate::logging;
use crate::sys::{self, Pid};

/// The supervisor whose death ends this process, and the worker that was tied to it; 0 in a process that is no worker.
static SUPERVISOR: AtomicI32 = AtomicI32::new(0);
static WORKER: AtomicI32 = AtomicI32::new(0);

/// Makes this process, just forked and with the id `own`, end when the supervisor does. Fails when the supervisor has ended already.
#[inline] // Each page of code that a new worker enters costs it a fault.
pub(crate) fn tie_to(supervisor: Pid, own: Pid) -> io::Result<()> {
    SUPERVISOR.store(supervisor.as_raw(), Ordering::Relaxed);
    WORKER.store(own.as_raw(), Ordering::Relaxed);
    sys::die_with_parent()?;
    match sys::getppid() {
        parent if parent == supervisor => Ok(()),
        parent => Err(is_orphan(parent, supervisor)),
    }
}

#[cold]
fn is_orphan(parent: Pid, supervisor: Pid) -> io::Error {
    io::Error::other(format!("its parent is pid {parent} and not the supervisor, pid {supervisor}"))
}

/// Whether this process, or one that it was forked from, is a worker with a supervisor.
#[inline]
pub(crate) fn has_supervisor() -> bool {
    SUPERVISOR.load(Ordering::Relaxed) != 0
}

/// Ties this process again after a change of credentials, at which the kernel clears the parent-death signal. Ends this
/// process when the supervisor ended in between.
pub(crate) fn rearm() -> Result<(), Error> {
    let supervisor = SUPERVISOR.load(Ordering::Relaxed);
    let (worker, own) = (WORKER.load(Ordering::Relaxed), sys::getpid().as_raw());
    if supervisor == 0 {
        return Ok(());
    }
    let system = |source| Error::System { call: "prctl(2)", source };
    if worker != own {
        let reason =
            format!("only a worker shares its supervisor's death, and pid {own} is a process that pid {worker} made");
        return Err(system(io::Error::other(reason)));
    }
    sys::die_with_parent().map_err(system)?;
    if sys::getppid().as_raw() != supervisor {
        logging::error(&format!("pid {own} ends: its supervisor, pid {supervisor}, is gone"));
        sys::end_now(1);
    }
    Ok(())
}
