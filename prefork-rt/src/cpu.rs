//! How many CPUs this process may use, and what limits them.

/// How many CPUs this process may use, at least 1: the default number of workers.
///
/// Honours the CPU affinity (`taskset`, cpusets) and the cgroup's CPU quota, versions 1 and 2, rounded up: a quota of
/// 1.5 CPUs counts as 2. The quota is read once. Tornado's `cpu_count()` returns the host's CPUs.
///
/// ```
/// use prefork_rt::{Prefork, cpu_count};
///
/// // One CPU is left to the database on this machine.
/// let builder = Prefork::new().workers(cpu_count().saturating_sub(1).max(1));
/// # drop(builder);
/// ```
pub fn cpu_count() -> usize {
    num_cpus::get().max(1)
}

/// [`cpu_count`], with the reason for a log line.
pub(crate) fn count_and_why() -> (usize, String) {
    let count = cpu_count();
    let host = crate::sys::host_cpus().unwrap_or(count);
    let allowed = crate::sys::affinity_cpus().unwrap_or(host);
    let why = if count < allowed {
        format!("cgroup quota, the host has {host} CPUs")
    } else if allowed < host {
        format!("CPU affinity, the host has {host} CPUs")
    } else {
        "one per CPU".to_owned()
    };
    (count, why)
}
