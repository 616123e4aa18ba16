//! Whether the kernel, for want of memory, sent a SIGKILL that the supervisor did not send.
//!
//! It must not know which worker died of it: the kernel counts such kills, and does not name the processes.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str;
use std::time::{Duration, Instant};

use crate::cgroup::CgroupFile;
use crate::policy::{Growth, Scope};
use crate::sys::{Uncopied, UncopiedVec};

/// How often the kernel has killed for want of memory, and what of that is not accounted for.
pub(crate) struct OomKills {
    /// That of this process's cgroup at the start, where there is one: it counts the kernel's kills in it, also when the
    /// machine is out of memory. It does not count those of a worker that has moved to another cgroup. Else the count of all
    /// the kernel's kills, which has those of other programs too, and is slow to read: 24 µs.
    counter: Option<Counter>,
    /// The last growth, when it was read, and how many of its kills are not accounted for.
    last: Option<(Growth, Instant, u64)>,
}

/// Version 1 counts the kills of each cgroup by itself, version 2 those below too.
const COUNTER: CgroupFile =
    CgroupFile { controller: "memory", version_1: "memory.oom_control", version_2: "memory.events" };

/// The deaths that one growth counts are reaped within this time.
const TOGETHER: Duration = Duration::from_secs(1);

impl OomKills {
    /// Finds the counter and reads it for the first time. A system may have none.
    pub(crate) fn read(memory: &Uncopied) -> OomKills {
        let open = |path: PathBuf| Counter::open(Scope::Cgroup, &path, memory);
        let of_cgroup = COUNTER.usual_file().and_then(open).or_else(|| COUNTER.files().into_iter().find_map(open));
        let counter = of_cgroup.or_else(|| Counter::open(Scope::Kernel, "/proc/vmstat".as_ref(), memory));
        OomKills { counter, last: None }
    }

    /// Reads the counter again, after deaths by SIGKILL were reaped, and before they are explained. The kernel counts before it
    /// kills, so they are in the count.
    pub(crate) fn look(&mut self) {
        if let Some(growth) = self.counter.as_mut().and_then(Counter::grown) {
            self.last = Some((growth, Instant::now(), growth.to - growth.from));
        }
    }

    /// The growth that one more death by SIGKILL is part of, if there is one: several kills can be one growth.
    pub(crate) fn explain(&mut self) -> Option<Growth> {
        let (growth, when, left) = self.last.as_mut()?;
        if when.elapsed() > TOGETHER {
            return None;
        }
        *left = left.checked_sub(1)?;
        Some(*growth)
    }

    /// The file. Call it in a worker, which does not have the memory that the file was read into.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn into_descriptor(self) -> Option<OwnedFd> {
        let Counter { file, room, .. } = self.counter?;
        mem::forget(room);
        Some(file.into())
    }
}

struct Counter {
    scope: Scope,
    /// It stays open: to open it takes longer than to read it, and a replacement waits meanwhile.
    file: File,
    /// For what is read.
    room: UncopiedVec<u8>,
    count: u64,
}

impl Counter {
    fn open(scope: Scope, path: &Path, memory: &Uncopied) -> Option<Counter> {
        // The kernel counts anew for each read(2), and does not say before how much there is to read.
        let room = match scope {
            // Some short lines.
            Scope::Cgroup => 512,
            Scope::Kernel => 16 << 10,
        };
        let file = File::open(path).ok()?;
        let mut counter = Counter { scope, file, room: memory.zeros(room), count: 0 };
        counter.count = counter.read()?;
        Some(counter)
    }

    fn read(&mut self) -> Option<u64> {
        read_count(&mut self.room, |room, position| self.file.read_at(room, position))
    }

    fn grown(&mut self) -> Option<Growth> {
        let count = self.read()?;
        let from = mem::replace(&mut self.count, count);
        (count > from).then_some(Growth { counter: self.scope, from, to: count })
    }
}

/// Reads until the count is there. A read(2) of such a file returns a page at most, and /proc/vmstat may be longer.
fn read_count(room: &mut [u8], read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>) -> Option<u64> {
    let mut length = 0;
    loop {
        match read_at(&mut room[length..], length as u64).ok()? {
            0 => return None,
            more => length += more,
        }
        if let Some(count) = oom_kills(&room[..length]) {
            return Some(count);
        }
    }
}

/// The count in a file of names and numbers, of which the last line may be incomplete.
fn oom_kills(file: &[u8]) -> Option<u64> {
    let mut lines = file.split_inclusive(|&byte| byte == b'\n');
    let count = lines.find_map(|line| line.strip_prefix(b"oom_kill ")?.strip_suffix(b"\n"))?;
    str::from_utf8(count).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;

    #[test]
    fn the_count_has_a_line_of_its_own() {
        assert_eq!(oom_kills(b"oom_kill_disable 1\nunder_oom 1\noom_kill 7\n"), Some(7));
        assert_eq!(oom_kills(b"low 0\nhigh 0\nmax 8\noom 3\noom_kill 2\noom_group_kill 4\n"), Some(2));
        assert_eq!(oom_kills(b"oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(oom_kills(b"oom_kill many\n"), None);
        assert_eq!(oom_kills(b""), None);
        assert_eq!(oom_kills(b"oom 3\noom_kill 2"), None, "a digit may follow");
    }

    #[test]
    fn the_count_is_found_in_a_file_that_comes_in_parts() {
        let file = b"pgfault 1234\noom_kill 56\ndrop_slab 0\n";
        for part in 1..=file.len() {
            let read_at = |room: &mut [u8], position: u64| {
                let rest = &file[position as usize..];
                (&rest[..part.min(rest.len())]).read(room)
            };
            assert_eq!(read_count(&mut [0; 100], read_at), Some(56), "{part} bytes at once");
            assert_eq!(read_count(&mut [0; 20], read_at), None, "there is no room for the line");
        }
    }

    #[test]
    fn each_kill_that_was_counted_explains_one_death() {
        let directory = std::env::temp_dir().join(format!("prefork-oom-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join("memory.events");
        let memory = Uncopied::default();
        let open = || Counter::open(Scope::Cgroup, &file, &memory);
        let write = |count: u64| fs::write(&file, format!("oom_kill {count}\n")).expect("a file");
        assert!(open().is_none());
        write(1);
        let mut kills = OomKills { counter: open(), last: None };
        kills.look();
        assert_eq!(kills.explain(), None);
        write(3);
        assert_eq!(kills.explain(), None);
        kills.look();
        let growth = Growth { counter: Scope::Cgroup, from: 1, to: 3 };
        assert_eq!([(); 3].map(|()| kills.explain()), [Some(growth), Some(growth), None]);
        write(0);
        kills.look();
        assert_eq!(kills.explain(), None);
        write(1);
        kills.look();
        assert_eq!(kills.explain(), Some(Growth { counter: Scope::Cgroup, from: 0, to: 1 }));
        // As where the count is gone, because the cgroup is.
        fs::write(&file, "").expect("a file");
        kills.look();
        assert_eq!(kills.explain(), None);
        fs::remove_dir_all(&directory).expect("it is ours");
    }
}
