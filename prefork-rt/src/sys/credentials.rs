//! The users and groups that this process has, and becoming another user.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{self, Group, User};

pub(crate) use nix::unistd::{Gid, Uid, getegid, geteuid};

/// getpwnam(3).
pub(crate) fn getpwnam(name: &str) -> io::Result<Option<User>> {
    found(User::from_name(name))
}

/// getpwuid(3).
pub(crate) fn getpwuid(uid: Uid) -> io::Result<Option<User>> {
    found(User::from_uid(uid))
}

/// getgrnam(3).
pub(crate) fn getgrnam(name: &str) -> io::Result<Option<Group>> {
    found(Group::from_name(name))
}

/// getgrgid(3).
pub(crate) fn getgrgid(gid: Gid) -> io::Result<Option<Group>> {
    found(Group::from_gid(gid))
}

/// An error that says that there is no such file as /etc/passwd means that there is no such entry.
fn found<T>(entry: nix::Result<Option<T>>) -> io::Result<Option<T>> {
    match entry {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        entry => Ok(entry?),
    }
}

/// The real, the effective and, where the system tells, the saved user of this process: getresuid(2).
pub(crate) fn uids() -> Vec<Uid> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd"))]
    if let Ok(ids) = unistd::getresuid() {
        return vec![ids.real, ids.effective, ids.saved];
    }
    vec![unistd::getuid(), geteuid()]
}

/// The real, the effective and, where the system tells, the saved group of this process: getresgid(2).
pub(crate) fn gids() -> Vec<Gid> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd"))]
    if let Ok(ids) = unistd::getresgid() {
        return vec![ids.real, ids.effective, ids.saved];
    }
    vec![unistd::getgid(), getegid()]
}

/// All groups of a user, of which `group` is the first: getgrouplist(3).
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn getgrouplist(user: &str, group: Gid) -> io::Result<Vec<Gid>> {
    Ok(unistd::getgrouplist(&CString::new(user)?, group)?)
}

/// The supplementary groups of this process, where the system tells: getgroups(2).
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn getgroups() -> io::Result<Option<Vec<Gid>>> {
    Ok(Some(unistd::getgroups()?))
}

/// setgroups(2).
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn setgroups(groups: &[Gid]) -> io::Result<()> {
    Ok(unistd::setgroups(groups)?)
}

/// The one group that is known for certain: on Apple's systems a directory service has the last word on a user's groups,
/// and nix leaves the calls out.
#[cfg(target_vendor = "apple")]
pub(crate) fn getgrouplist(user: &str, group: Gid) -> io::Result<Vec<Gid>> {
    CString::new(user)?;
    Ok(vec![group])
}

#[cfg(target_vendor = "apple")]
pub(crate) fn getgroups() -> io::Result<Option<Vec<Gid>>> {
    Ok(None)
}

#[cfg(target_vendor = "apple")]
pub(crate) fn setgroups(groups: &[Gid]) -> io::Result<()> {
    let groups: Vec<libc::gid_t> = groups.iter().map(|group| group.as_raw()).collect();
    // The call itself refuses more groups than fit.
    let count = std::ffi::c_int::try_from(groups.len()).unwrap_or(std::ffi::c_int::MAX);
    // SAFETY: setgroups(2) reads as many ids as the first argument says, which is not more than the vector has.
    match unsafe { libc::setgroups(count, groups.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Changes the real, the effective and the saved group: setresgid(2). Where there is no such call, setgid(2), which does as
/// much for root.
pub(crate) fn become_group(gid: Gid) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd"))]
    return Ok(unistd::setresgid(gid, gid, gid)?);
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd")))]
    return Ok(unistd::setgid(gid)?);
}

/// Changes the real, the effective and the saved user: setresuid(2). Where there is no such call, setuid(2), which does as
/// much for root.
pub(crate) fn become_user(uid: Uid) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd"))]
    return Ok(unistd::setresuid(uid, uid, uid)?);
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "openbsd")))]
    return Ok(unistd::setuid(uid)?);
}

/// Becomes root, if setuid(2) lets this process. Returns whether it did.
pub(crate) fn can_become_root() -> bool {
    unistd::setuid(Uid::from_raw(0)).is_ok()
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
    match unsafe { libc::syscall(libc::SYS_capset, &raw mut header, &raw const none) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
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
    match unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut sets) } {
        0 => Ok(sets.iter().any(|&set| set != 0)),
        _ => Err(io::Error::last_os_error()),
    }
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

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = Uid::from_raw(0);
        if let Some(user) = getpwnam("root").expect("a user database") {
            assert_eq!(user.uid, root);
            assert!(getpwuid(root).expect("a user database").is_some());
        }
        assert!(getpwnam("no account has this name").expect("a user database").is_none());
        assert!(getgrnam("no account has this name").expect("a group database").is_none());
    }

    #[test]
    fn a_process_has_its_own_groups() {
        let groups = getgroups().expect("they are told");
        assert!(groups.is_none_or(|groups| !groups.contains(&Gid::from_raw(4_000_000_000))));
        assert!(uids().contains(&unistd::getuid()) && gids().contains(&getegid()));
    }
}
