//! The users and groups that this process has, and becoming another user.
#![allow(unsafe_code)]

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use super::outcome::checked;

/// The number of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uid(libc::uid_t);

/// The number of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gid(libc::gid_t);

impl Uid {
    pub(crate) const fn from_raw(uid: libc::uid_t) -> Uid {
        Uid(uid)
    }

    pub(crate) const fn as_raw(self) -> libc::uid_t {
        self.0
    }

    pub(crate) const fn is_root(self) -> bool {
        self.0 == 0
    }
}

impl Gid {
    pub(crate) const fn from_raw(gid: libc::gid_t) -> Gid {
        Gid(gid)
    }

    pub(crate) const fn as_raw(self) -> libc::gid_t {
        self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The real user of this process: getuid(2).
pub(super) fn getuid() -> Uid {
    // SAFETY: getuid(2) takes nothing, touches no memory and cannot fail.
    Uid(unsafe { libc::getuid() })
}

/// The effective user of this process: geteuid(2).
pub(crate) fn geteuid() -> Uid {
    // SAFETY: geteuid(2) takes nothing, touches no memory and cannot fail.
    Uid(unsafe { libc::geteuid() })
}

/// The real group of this process: getgid(2).
pub(super) fn getgid() -> Gid {
    // SAFETY: getgid(2) takes nothing, touches no memory and cannot fail.
    Gid(unsafe { libc::getgid() })
}

/// The effective group of this process: getegid(2).
pub(crate) fn getegid() -> Gid {
    // SAFETY: getegid(2) takes nothing, touches no memory and cannot fail.
    Gid(unsafe { libc::getegid() })
}

/// The real, the effective and, where the system tells, the saved user of this process: getresuid(2).
pub(crate) fn uids() -> Vec<Uid> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd"))]
    {
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        // SAFETY: getresuid(2) writes three numbers through the pointers, which are to live locals of that type.
        if unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) } == 0 {
            return vec![Uid(real), Uid(effective), Uid(saved)];
        }
    }
    vec![getuid(), geteuid()]
}

/// The real, the effective and, where the system tells, the saved group of this process: getresgid(2).
pub(crate) fn gids() -> Vec<Gid> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd"))]
    {
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        // SAFETY: getresgid(2) writes three numbers through the pointers, which are to live locals of that type.
        if unsafe { libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved) } == 0 {
            return vec![Gid(real), Gid(effective), Gid(saved)];
        }
    }
    vec![getgid(), getegid()]
}

/// The supplementary groups of this process, where the system tells: getgroups(2).
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn getgroups() -> io::Result<Option<Vec<Gid>>> {
    use std::ffi::c_int;

    use super::outcome::is;

    let read = |groups: &mut [libc::gid_t]| {
        // SAFETY: getgroups(2) writes at most as many ids as the first argument says, which is the length of the slice. For 0 it
        // writes none.
        checked(unsafe { libc::getgroups(groups.len() as c_int, groups.as_mut_ptr()) }).map(|count| count as usize)
    };
    loop {
        let mut groups = vec![0; read(&mut [])?];
        if groups.is_empty() {
            return Ok(Some(Vec::new()));
        }
        match read(&mut groups) {
            Ok(count) => {
                let mut found = Vec::new();
                for &group in &groups[..count] {
                    found.push(Gid(group));
                }
                return Ok(Some(found));
            }
            // There are more than a moment ago.
            Err(error) if is(&error, libc::EINVAL) => {}
            Err(error) => return Err(error),
        }
    }
}

/// On Apple's systems a directory service has the last word on the groups of a user.
#[cfg(target_vendor = "apple")]
pub(crate) fn getgroups() -> io::Result<Option<Vec<Gid>>> {
    Ok(None)
}

/// setgroups(2).
pub(crate) fn setgroups(groups: &[Gid]) -> io::Result<()> {
    let mut numbers: Vec<libc::gid_t> = Vec::new();
    for group in groups {
        numbers.push(group.as_raw());
    }
    // The type of the number is another one on other systems. The call itself refuses more groups than fit.
    // SAFETY: setgroups(2) reads as many ids as the first argument says, which is not more than the vector has.
    checked(unsafe { libc::setgroups(numbers.len() as _, numbers.as_ptr()) }).map(drop)
}

/// Changes the real, the effective and the saved group: setresgid(2). Where there is no such call, setgid(2), which does as
/// much for root.
pub(crate) fn become_group(gid: Gid) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd"))]
    // SAFETY: setresgid(2) takes three numbers and touches no memory of ours.
    let set = unsafe { libc::setresgid(gid.0, gid.0, gid.0) };
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd")))]
    // SAFETY: setgid(2) takes a number and touches no memory of ours.
    let set = unsafe { libc::setgid(gid.0) };
    checked(set).map(drop)
}

/// Changes the real, the effective and the saved user: setresuid(2). Where there is no such call, setuid(2), which does as
/// much for root.
pub(crate) fn become_user(uid: Uid) -> io::Result<()> {
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd")))]
    return setuid(uid);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd"))]
    // SAFETY: setresuid(2) takes three numbers and touches no memory of ours.
    checked(unsafe { libc::setresuid(uid.0, uid.0, uid.0) }).map(drop)
}

/// Becomes root, if setuid(2) lets this process. Returns whether it did.
pub(crate) fn can_become_root() -> bool {
    setuid(Uid(0)).is_ok()
}

fn setuid(uid: Uid) -> io::Result<()> {
    // SAFETY: setuid(2) takes a number and touches no memory of ours.
    checked(unsafe { libc::setuid(uid.0) }).map(drop)
}

/// Gives up all capabilities: capset(2). A change of user leaves them to a process that had them without being root.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn drop_capabilities() -> io::Result<()> {
    // `_LINUX_CAPABILITY_VERSION_3`, and the calling thread.
    let mut header: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted and inheritable, of the lower 32 capabilities and of the upper.
    let none = [0_u32; 6];
    // SAFETY: capset(2) of this version reads six integers of 32 bits, reads a header of two and may write to it; both
    // pointers are to live locals of these sizes.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, &raw const none) }).map(drop)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn drop_capabilities() -> io::Result<()> {
    Ok(())
}

/// Whether this process has any capability, effective, permitted or inheritable: capget(2). Ambient ones are permitted, too.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn has_capabilities() -> io::Result<bool> {
    // As in `drop_capabilities`.
    let mut header: [u32; 2] = [0x2008_0522, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: capget(2) of this version reads a header of two integers of 32 bits, may write to it, and writes six of them;
    // both pointers are to live locals of these sizes.
    checked(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut sets) })?;
    Ok(sets.iter().any(|&set| set != 0))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn has_capabilities() -> io::Result<bool> {
    Ok(false)
}

/// The capabilities that this process lacks to change its user (and to signal a process that has changed its user), and to
/// change its groups.
pub(crate) fn missing_rights(user: bool, groups: bool) -> Vec<&'static str> {
    // The bits of capabilities(7).
    let rights = [("CAP_KILL", 5, user), ("CAP_SETGID", 6, groups), ("CAP_SETUID", 7, user)];
    let effective = effective_capabilities();
    let mut missing = Vec::new();
    for (name, bit, needed) in rights {
        if needed && effective & (1 << bit) == 0 {
            missing.push(name);
        }
    }
    missing
}

/// Where the system has no capabilities, or does not tell them, root has all and any other user none.
fn effective_capabilities() -> u64 {
    let told = fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    told.unwrap_or(if geteuid().is_root() { u64::MAX } else { 0 })
}

/// Whether a file or directory has a list of users and groups with rights of their own: acl(5).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn has_acl(path: &Path) -> bool {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: lgetxattr(2) reads two texts that end with a zero, and with a size of 0 it writes nothing.
    unsafe { libc::lgetxattr(path.as_ptr(), c"system.posix_acl_access".as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn has_acl(_: &Path) -> bool {
    false
}

/// Whether this user namespace lets no process change its supplementary groups: /proc/self/setgroups.
pub(crate) fn groups_are_fixed() -> bool {
    fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "deny")
}

/// Whether this user namespace has such a user: /proc/self/uid_map.
pub(crate) fn has_uid(uid: Uid) -> bool {
    fs::read_to_string("/proc/self/uid_map").map_or(true, |map| maps(&map, uid.as_raw()))
}

/// Whether this user namespace has such a group: /proc/self/gid_map.
pub(crate) fn has_gid(gid: Gid) -> bool {
    fs::read_to_string("/proc/self/gid_map").map_or(true, |map| maps(&map, gid.as_raw()))
}

/// Each line of a map has the first id inside, the first id outside, and a count.
fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u64>);
        let (inside, _, count) = (numbers.next(), numbers.next(), numbers.next());
        matches!((inside, count), (Some(Ok(inside)), Some(Ok(count))) if (inside..inside + count).contains(&id.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_namespace_has_the_ids_that_its_map_has() {
        let rootless = "         0       1000          1\n         1     100000      65536\n";
        for (id, there) in [(0, true), (1, true), (65_536, true), (65_537, false), (u32::MAX, false)] {
            assert_eq!(maps(rootless, id), there, "{id}");
        }
        assert!(maps("         0          0 4294967295\n", u32::MAX - 1));
        assert!(!maps("", 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_users_and_groups_of_a_process_are_what_the_kernel_says() {
        let status = fs::read_to_string("/proc/thread-self/status").expect("Linux tells");
        let told = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            line.split_ascii_whitespace().map(|id| id.parse().expect("a number")).collect::<Vec<u32>>()
        };
        let users: Vec<u32> = uids().iter().map(|user| user.as_raw()).collect();
        let numbers = |groups: &[Gid]| groups.iter().map(|group| group.as_raw()).collect::<Vec<u32>>();
        // The real, the effective and the saved one come first, and one that is for files comes last.
        assert_eq!((&users[..], &numbers(&gids())[..]), (&told("Uid:")[..3], &told("Gid:")[..3]));
        assert_eq!((getuid(), geteuid()), (Uid::from_raw(users[0]), Uid::from_raw(users[1])));
        assert_eq!((getgid().as_raw(), getegid().as_raw()), (told("Gid:")[0], told("Gid:")[1]));
        assert_eq!(numbers(&getgroups().expect("they are told").expect("Linux tells")), told("Groups:"));
    }
}
