//! What limits the CPUs of this process.
#![allow(unsafe_code)]

/// The CPUs that are online: sysconf(3).
pub(crate) fn host_cpus() -> Option<usize> {
    // SAFETY: sysconf(3) takes any number and returns -1 for one that it does not know.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(online).ok()
}

/// The CPUs that this process may run on: sched_getaffinity(2).
pub(crate) fn affinity_cpus() -> Option<usize> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use nix::sched::{CpuSet, sched_getaffinity};
        let set = sched_getaffinity(super::getpid()).ok()?;
        Some((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).count())
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        None
    }
}
