//! A control group that limits how many processes there are, where one can be made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::until;

/// A group of its own. It goes when its last process has ended.
pub struct PidsCgroup(PathBuf);

impl PidsCgroup {
    /// Below the controller `pids` of version 1, or below the root of version 2. `None` where that may not be done.
    pub fn new() -> Option<PidsCgroup> {
        static GROUPS: AtomicU32 = AtomicU32::new(0);
        let name = format!("prefork-test-{}-{}", std::process::id(), GROUPS.fetch_add(1, Ordering::Relaxed));
        ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].iter().find_map(|root| PidsCgroup::below(Path::new(root), &name))
    }

    fn below(root: &Path, name: &str) -> Option<PidsCgroup> {
        let path = root.join(name);
        // Elsewhere this would be a plain directory.
        if !root.join("cgroup.procs").exists() {
            return None;
        }
        fs::create_dir(&path).ok()?;
        let group = PidsCgroup(path);
        group.0.join("pids.max").exists().then_some(group)
    }

    pub fn add(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("the process can be moved");
    }

    /// How many processes and threads there may be in it: a number, or `max`.
    pub fn limit(&self, limit: &str) {
        fs::write(self.0.join("pids.max"), limit).expect("the limit can be set");
    }
}

impl Drop for PidsCgroup {
    fn drop(&mut self) {
        // A process leaves it when it is reaped.
        until("the control group is empty", || fs::remove_dir(&self.0).is_ok().then_some(()));
    }
}
