//! Where the files of this process's cgroups are, of version 1 and version 2.
//!
//! It must not know what is written in them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// A file that a controller has in each cgroup.
pub(crate) struct CgroupFile {
    pub(crate) controller: &'static str,
    /// Its name in version 1, and in version 2.
    pub(crate) version_1: &'static str,
    pub(crate) version_2: &'static str,
}

impl CgroupFile {
    /// Where it is if the whole hierarchy is mounted at its usual place. None in a cgroup namespace of a container's, in which
    /// the cgroups have other names: where the host's hierarchy is mounted in it, the file could be that of another cgroup.
    pub(crate) fn usual_file(&self) -> Option<PathBuf> {
        is_in_first_namespace().then(|| usual_file(self, &text("/proc/self/cgroup")))?
    }

    /// Where it may be, the likeliest first, by what /proc says of this process's cgroups and mounts.
    ///
    /// Of version 2, the files of the cgroups above follow: a cgroup without the controller is subject to the next one
    /// above that has it.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        files(self, &text("/proc/self/cgroup"), &text("/proc/self/mountinfo"))
    }
}

/// A mount point may have a name that is not UTF-8, so the text is approximate.
fn text(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Whether /proc shows the names that cgroups have in the whole hierarchy: stat(2) of the namespace.
fn is_in_first_namespace() -> bool {
    /// Its inode, which the kernel has as a constant: `CGROUP_NS_INIT_INO`.
    const FIRST: u64 = 0xEFFF_FFFB;

    match fs::metadata("/proc/self/ns/cgroup") {
        Ok(namespace) => namespace.ino() == FIRST,
        // Before Linux 4.6 there are no others.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Where the file is if the whole hierarchy is mounted at its usual place. To read the list of mounts takes three
/// times as long as all else here, and longer where there are many.
///
/// Where only a part of the hierarchy is mounted there, this file does not exist, unless the part has itself for a part. A
/// process in the root of the hierarchy cannot tell a part from the whole, so there is no file for it.
fn usual_file(file: &CgroupFile, cgroup: &str) -> Option<PathBuf> {
    let group = cgroup.lines().find_map(|line| Group::parse(line, file))?;
    let hierarchy = Path::new("/sys/fs/cgroup");
    let point = match group.version {
        Version::One => hierarchy.join(file.controller),
        Version::Two => hierarchy.to_owned(),
    };
    if group.path == Path::new("/") {
        return None;
    }
    let mut files = Vec::new();
    Mount { version: group.version, root: "/".into(), point }.add_files_of(&group, file, &mut files);
    files.into_iter().next()
}

/// The likeliest first.
fn files(file: &CgroupFile, cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for group in cgroup.lines().filter_map(|line| Group::parse(line, file)) {
        for mount in mountinfo.lines().filter_map(|line| Mount::parse(line, file)) {
            mount.add_files_of(&group, file, &mut files);
        }
    }
    files
}

/// A line of /proc/self/cgroup that matters for the controller: `4:memory:/a/b` (version 1), `0::/a/b` (version 2).
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
    fn parse<'a>(line: &'a str, file: &CgroupFile) -> Option<Group<'a>> {
        let mut fields = line.splitn(3, ':');
        let version = match (fields.next()?, fields.next()?) {
            ("0", "") => Version::Two,
            (_, controllers) if has(controllers, file.controller) => Version::One,
            _ => return None,
        };
        Some(Group { version, path: Path::new(fields.next()?) })
    }
}

impl Mount {
    fn parse(line: &str, file: &CgroupFile) -> Option<Mount> {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let version = match (kind.next()?, kind.nth(1)?) {
            ("cgroup2", _) => Version::Two,
            ("cgroup", options) if has(options, file.controller) => Version::One,
            _ => return None,
        };
        let mut place = place.split(' ').skip(3).map(|path| PathBuf::from(unescaped(path)));
        Some(Mount { version, root: place.next()?, point: place.next()? })
    }

    /// Adds those of the group, where this mount shows it.
    fn add_files_of(&self, group: &Group<'_>, file: &CgroupFile, files: &mut Vec<PathBuf>) {
        let below = group.path.strip_prefix(&self.root).ok().filter(|_| self.version == group.version);
        // Outside this process's cgroup namespace, names begin with "..", and no directory of the mount has them.
        let is_plain = |below: &&Path| below.components().all(|component| matches!(component, Component::Normal(_)));
        let Some(below) = below.filter(is_plain) else { return };
        match self.version {
            Version::One => files.push(self.point.join(below).join(file.version_1)),
            Version::Two => {
                for below in below.ancestors() {
                    files.push(self.point.join(below).join(file.version_2));
                }
            }
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

    const MEMORY: CgroupFile =
        CgroupFile { controller: "memory", version_1: "memory.oom_control", version_2: "memory.events" };

    fn files(cgroup: &str, mountinfo: &str) -> Vec<String> {
        super::files(&MEMORY, cgroup, mountinfo).iter().map(|path| path.to_str().expect("text").to_owned()).collect()
    }

    #[test]
    fn the_usual_file_is_the_first_of_those_that_the_mounts_show() {
        for (cgroup, mounts) in [(V1_CGROUP, V1_MOUNTS), (V2_CGROUP, V2_MOUNTS)] {
            let usual = usual_file(&MEMORY, cgroup).expect("a file");
            assert_eq!(usual.to_str(), files(cgroup, mounts).first().map(String::as_str));
        }
        for rootless in ["4:memory:/\n0::/x\n", "0::/\n", "0::/../other\n", "5:cpu:/x\n", ""] {
            assert_eq!(usual_file(&MEMORY, rootless), None, "{rootless}");
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
        }
    }
}
