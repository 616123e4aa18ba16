//! How many CPUs this process may use, and what limits them.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::cgroup::CgroupFile;
use crate::sys;

/// How many CPUs this process may use, at least 1: the default number of workers.
///
/// Honours the CPU affinity (`taskset`, cpusets) and the cgroup's CPU quota, versions 1 and 2, rounded up: a quota of
/// 1.5 CPUs counts as 2. With version 2 the quotas of the cgroups above it count too. The quota is read once. Tornado's
/// `cpu_count()` returns the host's CPUs.
///
/// ```
/// use prefork_rt::{Prefork, cpu_count};
///
/// // One CPU is left to the database on this machine.
/// let builder = Prefork::new().workers(cpu_count().saturating_sub(1).max(1));
/// # drop(builder);
/// ```
pub fn cpu_count() -> usize {
    static QUOTA: OnceLock<Option<usize>> = OnceLock::new();
    let allowed = sys::affinity_cpus().or_else(sys::host_cpus).unwrap_or(1);
    let quota = QUOTA.get_or_init(|| CPU_MAX.files().iter().filter_map(|file| quota(file)).min());
    quota.map_or(allowed, |quota| quota.min(allowed)).max(1)
}

const CPU_MAX: CgroupFile = CgroupFile { controller: "cpu", version_1: "cpu.cfs_quota_us", version_2: "cpu.max" };

/// The CPUs that the file allows: microseconds of CPU time in each period. Version 1 has the period in a file beside it.
fn quota(file: &Path) -> Option<usize> {
    let text = fs::read_to_string(file).ok()?;
    let (quota, period) = match text.split_once(' ') {
        Some((quota, period)) => (quota, period.to_owned()),
        None => (&text[..], fs::read_to_string(file.with_file_name("cpu.cfs_period_us")).ok()?),
    };
    // Without a limit, the quota is "max" or -1.
    let (quota, period): (usize, usize) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
    (quota > 0 && period > 0).then(|| quota.div_ceil(period))
}

/// [`cpu_count`], with the reason for a log line.
pub(crate) fn count_and_why() -> (usize, String) {
    let count = cpu_count();
    let host = sys::host_cpus().unwrap_or(count);
    let allowed = sys::affinity_cpus().unwrap_or(host);
    let why = if count < allowed {
        format!("cgroup quota, the host has {host} CPUs")
    } else if allowed < host {
        format!("CPU affinity, the host has {host} CPUs")
    } else {
        "one per CPU".to_owned()
    };
    (count, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_and_may_be_none() {
        let directory = std::env::temp_dir().join(format!("prefork-quota-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let write = |name: &str, text: &str| {
            let file = directory.join(name);
            fs::write(&file, text).expect("a file");
            file
        };
        for (text, cpus) in [
            ("150000 100000\n", Some(2)),
            ("200000 100000\n", Some(2)),
            ("1000 100000\n", Some(1)),
            ("max 100000\n", None),
            ("0 100000\n", None),
            ("100000 0\n", None),
            ("", None),
        ] {
            assert_eq!(quota(&write("cpu.max", text)), cpus, "{text}");
        }
        assert_eq!(quota(&write("cpu.cfs_quota_us", "150000\n")), None, "there is no period");
        write("cpu.cfs_period_us", "100000\n");
        for (text, cpus) in [("250000\n", Some(3)), ("-1\n", None)] {
            assert_eq!(quota(&write("cpu.cfs_quota_us", text)), cpus, "{text}");
        }
        assert_eq!(quota(&directory.join("nowhere")), None);
        fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[test]
    fn there_is_a_cpu_and_no_more_than_may_be_used() {
        let allowed = sys::affinity_cpus().or_else(sys::host_cpus).expect("a number");
        assert!((1..=allowed).contains(&cpu_count()));
    }
}
