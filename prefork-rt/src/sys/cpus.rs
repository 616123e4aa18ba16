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
        // SAFETY: a cpu_set_t is an array of numbers, so all zeros are one: that of no CPU.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: sched_getaffinity(2) writes at most this size through the pointer, which is a borrow of a live local.
        let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
        let is_set = |cpu| {
            // SAFETY: CPU_ISSET(3) reads a bit of the set, and each number below CPU_SETSIZE has one.
            unsafe { libc::CPU_ISSET(cpu, &set) }
        };
        (result == 0).then(|| (0..libc::CPU_SETSIZE as usize).filter(|&cpu| is_set(cpu)).count())
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        None
    }
}
