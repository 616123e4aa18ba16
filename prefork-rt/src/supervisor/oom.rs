//! Whether the kernel, for want of memory, sent a SIGKILL that the supervisor did not send.
//!
//! It must not know which worker died of it: the kernel counts such kills, and does not name the processes.

use std::fs::{self, File};
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::str;
use std::time::{Duration, Instant};

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

/// The deaths that one growth counts are reaped within this time.
const TOGETHER: Duration = Duration::from_secs(1);

impl OomKills {
    /// Finds the counter and reads it for the first time. A system may have none.
    pub(crate) fn read(memory: &Uncopied) -> OomKills {
        let text = |path| fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let of_cgroup = || {
            let cgroup = text("/proc/self/cgroup")?;
            let open = |path: PathBuf| Counter::open(Scope::Cgroup, &path, memory);
            usual_file(&cgroup).and_then(open).or_else(|| {
                // A mount point may have a name that is not UTF-8, so that text is approximate.
                cgroup_files(&cgroup, &text("/proc/self/mountinfo")?).into_iter().find_map(open)
            })
        };
        let counter = of_cgroup().or_else(|| Counter::open(Scope::Kernel, "/proc/vmstat".as_ref(), memory));
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

    /// Closes the file, in a worker, which does not have the memory that was read into.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn close(self) {
        if let Some(Counter { file, room, .. }) = self.counter {
            mem::forget(room);
            drop(file);
        }
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

/// Where the cgroup's counter is if the whole hierarchy is mounted at its usual place. To read the list of mounts takes three
/// times as long as all else here, and longer where there are many.
///
/// Where only a part of the hierarchy is mounted there, this file does not exist, unless the part has itself for a part. A
/// process in the root of the hierarchy cannot tell a part from the whole, so there is no file for it.
fn usual_file(cgroup: &str) -> Option<PathBuf> {
    let group = cgroup.lines().find_map(Group::parse)?;
    let point = match group.version {
        Version::One => "/sys/fs/cgroup/memory",
        Version::Two => "/sys/fs/cgroup",
    };
    if group.path == Path::new("/") {
        return None;
    }
    Mount { version: group.version, root: "/".into(), point: point.into() }.files_of(&group).into_iter().next()
}

/// Where the cgroup's counter may be, the likeliest first, by what /proc says of this process's cgroups and mounts.
///
/// Version 1 counts the kills of each cgroup by itself. Version 2 counts those below too, and a cgroup without the
/// memory controller is accounted for by the next one above that has it.
fn cgroup_files(cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
    let mut files = Vec::new();
    for group in cgroup.lines().filter_map(Group::parse) {
        for mount in &mounts {
            files.extend(mount.files_of(&group));
        }
    }
    files
}

/// A line of /proc/self/cgroup that matters for memory: `4:memory:/a/b` (version 1), `0::/a/b` (version 2).
struct Group<'a> {
    version: Version,
    path: &'a Path,
}

/// A line of /proc/self/mountinfo: `35 31 0:32 ROOT POINT rw,relatime shared:9 - cgroup cgroup rw,memory`. It shows the
/// part of the hierarchy below ROOT, which is not `/` in a container without a cgroup namespace.
struct Mount {
    version: Version,
    root: PathBuf,
    point: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group<'_> {
    fn parse(line: &str) -> Option<Group<'_>> {
        let mut fields = line.splitn(3, ':');
        let version = match (fields.next()?, fields.next()?) {
            ("0", "") => Version::Two,
            (_, controllers) if has(controllers, "memory") => Version::One,
            _ => return None,
        };
        Some(Group { version, path: Path::new(fields.next()?) })
    }
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let version = match (kind.next()?, kind.nth(1)?) {
            ("cgroup2", _) => Version::Two,
            ("cgroup", options) if has(options, "memory") => Version::One,
            _ => return None,
        };
        let mut place = place.split(' ').skip(3).map(|path| PathBuf::from(unescaped(path)));
        Some(Mount { version, root: place.next()?, point: place.next()? })
    }

    /// The files that count for the group, where this mount shows it.
    fn files_of(&self, group: &Group<'_>) -> Vec<PathBuf> {
        let below = group.path.strip_prefix(&self.root).ok().filter(|_| self.version == group.version);
        // Outside this process's cgroup namespace, names begin with "..", and no directory of the mount has them.
        let is_plain = |below: &&Path| below.components().all(|component| matches!(component, Component::Normal(_)));
        let Some(below) = below.filter(is_plain) else { return Vec::new() };
        match self.version {
            Version::One => vec![self.point.join(below).join("memory.oom_control")],
            Version::Two => below.ancestors().map(|below| self.point.join(below).join("memory.events")).collect(),
        }
    }
}

fn has(list: &str, name: &str) -> bool {
    list.split(',').any(|entry| entry == name)
}

/// Undoes what the kernel writes for blanks, which separate the fields, and for the backslash: `\040`, in octal digits.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_at_checked(3).map(|(octal, rest)| (u8::from_str_radix(octal, 8), rest)) {
            Some((Ok(byte), rest)) => {
                plain.push(byte.into());
                plain.push_str(rest);
            }
            Some((Err(_), _)) | None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const V1_CGROUP: &str = "9:name=systemd:/\n5:cpu,memory:/a/b\n1:memory_of_elephants:/c\n";
    const V1_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:3 - cgroup cgroup rw,cpu,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
";
    const V2_CGROUP: &str = "0::/system.slice/app.service\n";
    const V2_MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";

    fn files(cgroup: &str, mountinfo: &str) -> Vec<String> {
        cgroup_files(cgroup, mountinfo).iter().map(|path| path.to_str().expect("text").to_owned()).collect()
    }

    #[test]
    fn the_usual_file_is_the_first_of_those_that_the_mounts_show() {
        for (cgroup, mounts) in [(V1_CGROUP, V1_MOUNTS), (V2_CGROUP, V2_MOUNTS)] {
            let usual = usual_file(cgroup).expect("a file");
            assert_eq!(usual.to_str(), files(cgroup, mounts).first().map(String::as_str));
        }
        for rootless in ["4:memory:/\n0::/x\n", "0::/\n", "0::/../other\n", "5:cpu:/x\n", ""] {
            assert_eq!(usual_file(rootless), None, "{rootless}");
        }
    }

    #[test]
    fn version_1_is_where_the_memory_controller_is_mounted() {
        assert_eq!(files(V1_CGROUP, V1_MOUNTS), ["/sys/fs/cgroup/memory/a/b/memory.oom_control"]);
    }

    #[test]
    fn version_2_is_the_groups_own_or_the_next_above() {
        let expected = ["system.slice/app.service/", "system.slice/", ""]
            .map(|below| format!("/sys/fs/cgroup/{below}memory.events"));
        assert_eq!(files(V2_CGROUP, V2_MOUNTS), expected);
    }

    #[test]
    fn of_a_hybrid_both_are_tried() {
        let mounts = V1_MOUNTS.to_owned() + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let expected = ["/sys/fs/cgroup/memory/x/memory.oom_control", "/sys/fs/cgroup/unified/memory.events"];
        assert_eq!(files("4:memory:/x\n0::/\n", &mounts), expected);
    }

    #[test]
    fn a_container_sees_its_part_of_the_hierarchy() {
        let mount = |root: &str, point: &str| format!("35 31 0:32 {root} {point} ro - cgroup cgroup rw,memory\n");
        // Without a cgroup namespace: the root of the mount is the container's cgroup.
        let own = mount("/docker/0a1b", "/sys/fs/cgroup/memory");
        assert_eq!(files("4:memory:/docker/0a1b\n", &own), ["/sys/fs/cgroup/memory/memory.oom_control"]);
        assert_eq!(files("4:memory:/docker/0a1b/x\n", &own), ["/sys/fs/cgroup/memory/x/memory.oom_control"]);
        // With one, everything is relative to it.
        assert_eq!(files("0::/\n", V2_MOUNTS), ["/sys/fs/cgroup/memory.events"]);
        // The host's, lent to the container, beside its own.
        let lent = mount("/", "/host/cgroup") + &own;
        let found = files("4:memory:/docker/0a1b\n", &lent);
        assert_eq!(found.first().map(String::as_str), Some("/host/cgroup/docker/0a1b/memory.oom_control"));
        assert_eq!(found.last().map(String::as_str), Some("/sys/fs/cgroup/memory/memory.oom_control"));
    }

    #[test]
    fn what_a_mount_does_not_show_is_not_guessed() {
        let mount = |root: &str| format!("35 31 0:32 {root} /m rw - cgroup2 cgroup2 rw\n");
        assert!(files("0::/docker/0a1b\n", &mount("/docker/0a1")).is_empty());
        assert!(files("0::/\n", &mount("/../..")).is_empty());
        assert!(files("0::/../other\n", &mount("/")).is_empty());
        assert_eq!(files("0::/../other\n", &mount("/..")), ["/m/other/memory.events", "/m/memory.events"]);
    }

    #[test]
    fn names_may_have_colons_and_blanks() {
        let mounts = "35 31 0:32 / /a\\040b\\134040 rw - cgroup2 none rw\n";
        assert_eq!(files("0::/c:d e\n", mounts)[0], "/a b\\040/c:d e/memory.events");
    }

    #[test]
    fn what_is_broken_is_passed_over() {
        for broken in ["", "\n", "0", "0:", "0::", "memory", "4:memory", ":::", " - ", "- cgroup2", "1 2 3 - cgroup2 x"]
        {
            assert!(files(broken, V2_MOUNTS).iter().all(|file| file.starts_with("/sys/fs/cgroup/")), "{broken}");
            assert!(files(V2_CGROUP, broken).is_empty(), "{broken}");
            assert_eq!(oom_kills(broken.as_bytes()), None);
        }
    }

    #[test]
    fn the_count_has_a_line_of_its_own() {
        assert_eq!(oom_kills(b"oom_kill_disable 1\nunder_oom 1\noom_kill 7\n"), Some(7));
        assert_eq!(oom_kills(b"low 0\nhigh 0\nmax 8\noom 3\noom_kill 2\noom_group_kill 4\n"), Some(2));
        assert_eq!(oom_kills(b"oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(oom_kills(b"oom_kill many\n"), None);
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
