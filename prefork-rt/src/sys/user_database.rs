//! The system's lists of users and groups: getpwnam(3), getgrnam(3), getgrouplist(3).
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use super::{Gid, Uid};

/// A user of the system's list.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    /// The primary group.
    pub(crate) gid: Gid,
}

/// A group of the system's list.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) gid: Gid,
}

/// getpwnam(3). A name with a zero in it is not asked for, because no user can have it.
pub(crate) fn getpwnam(name: &str) -> io::Result<Option<User>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    entry(&User::of, &|entry, texts, length, found| {
        // SAFETY: getpwnam_r(3) reads a text that ends with a zero. What it writes to is live and large enough: see `entry`.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, texts, length, found) }
    })
}

/// getpwuid(3).
pub(crate) fn getpwuid(uid: Uid) -> io::Result<Option<User>> {
    entry(&User::of, &|entry, texts, length, found| {
        // SAFETY: what getpwuid_r(3) writes to is live and large enough: see `entry`.
        unsafe { libc::getpwuid_r(uid.as_raw(), entry, texts, length, found) }
    })
}

/// getgrnam(3). A name with a zero in it is not asked for, because no group can have it.
pub(crate) fn getgrnam(name: &str) -> io::Result<Option<Group>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    entry(&Group::of, &|entry, texts, length, found| {
        // SAFETY: getgrnam_r(3) reads a text that ends with a zero. What it writes to is live and large enough: see `entry`.
        unsafe { libc::getgrnam_r(name.as_ptr(), entry, texts, length, found) }
    })
}

/// getgrgid(3).
pub(crate) fn getgrgid(gid: Gid) -> io::Result<Option<Group>> {
    entry(&Group::of, &|entry, texts, length, found| {
        // SAFETY: what getgrgid_r(3) writes to is live and large enough: see `entry`.
        unsafe { libc::getgrgid_r(gid.as_raw(), entry, texts, length, found) }
    })
}

impl User {
    fn of(entry: &libc::passwd) -> User {
        // SAFETY: `entry` passes structures that getpwnam_r(3) or getpwuid_r(3) has filled in, with texts that end with a zero.
        let name = unsafe { CStr::from_ptr(entry.pw_name) };
        User {
            name: name.to_string_lossy().into_owned(),
            uid: Uid::from_raw(entry.pw_uid),
            gid: Gid::from_raw(entry.pw_gid),
        }
    }
}

impl Group {
    fn of(entry: &libc::group) -> Group {
        // SAFETY: `entry` passes structures that getgrnam_r(3) or getgrgid_r(3) has filled in, with texts that end with a zero.
        let name = unsafe { CStr::from_ptr(entry.gr_name) };
        Group { name: name.to_string_lossy().into_owned(), gid: Gid::from_raw(entry.gr_gid) }
    }
}

/// getpwnam_r(3) and its siblings: where to write the entry, where to write its texts and how many bytes of them, and where to
/// write a pointer to the entry, or a null pointer. They return 0, or an error.
type Call<'a, Entry> = &'a dyn Fn(*mut Entry, *mut c_char, usize, *mut *mut Entry) -> c_int;

/// Room for the texts of nearly every entry, in bytes, and as much as is tried.
const ROOM: usize = 4096;
const MOST_ROOM: usize = 1 << 20;

/// What a call finds, read by `read`. The pointers that the call is given lead to a place for an `Entry`, to as many bytes as
/// the length says, and to a place for a pointer. All three are locals of this function.
fn entry<Entry, T>(read: &dyn Fn(&Entry) -> T, call: Call<'_, Entry>) -> io::Result<Option<T>> {
    let mut texts: Vec<c_char> = vec![0; ROOM];
    loop {
        let (mut entry, mut found) = (MaybeUninit::<Entry>::uninit(), ptr::null_mut());
        match call(entry.as_mut_ptr(), texts.as_mut_ptr(), texts.len(), &raw mut found) {
            // SAFETY: getpwnam_r(3): "On success, these functions return zero, and set *result to pwd", which is `entry`; "if
            // no matching record was found, these functions return 0 and store NULL".
            0 => return Ok(unsafe { found.as_ref() }.map(read)),
            libc::ERANGE if texts.len() < MOST_ROOM => texts.resize(2 * texts.len(), 0),
            // There is no such file as /etc/passwd, so there is no such entry either.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// All groups of a user, of which `group` is the first: getgrouplist(3).
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn getgrouplist(user: &str, group: Gid) -> io::Result<Vec<Gid>> {
    /// The kernel gives no process more groups.
    const MOST: usize = 1 << 16;

    let user = CString::new(user)?;
    let mut groups = vec![group.as_raw(); 64];
    loop {
        let mut count = groups.len() as c_int;
        // SAFETY: getgrouplist(3) reads a text that ends with a zero, and writes at most as many ids as the count says, which
        // is the length of the vector, and the count itself.
        let all = unsafe { libc::getgrouplist(user.as_ptr(), group.as_raw(), groups.as_mut_ptr(), &raw mut count) };
        if all >= 0 {
            let mut found = Vec::new();
            for &group in &groups[..count as usize] {
                found.push(Gid::from_raw(group));
            }
            return Ok(found);
        }
        // It fails only where there are more groups than fit.
        if groups.len() >= MOST {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        groups.resize(2 * groups.len(), 0);
    }
}

/// The one group that is known for certain: on Apple's systems a directory service has the last word on a user's groups.
#[cfg(target_vendor = "apple")]
pub(crate) fn getgrouplist(user: &str, group: Gid) -> io::Result<Vec<Gid>> {
    CString::new(user)?;
    Ok(vec![group])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = Uid::from_raw(0);
        if let Some(user) = getpwnam("root").expect("a user database") {
            assert_eq!((user.uid, user.name.as_str()), (root, "root"));
            let by_number = getpwuid(root).expect("a user database").expect("root");
            assert_eq!(by_number.gid, user.gid);
            let groups = getgrouplist(&user.name, user.gid).expect("a list of groups");
            assert!(groups.contains(&user.gid), "{groups:?}");
        }
        for name in ["no account has this name", "ro\0ot", ""] {
            assert!(getpwnam(name).expect("a user database").is_none(), "{name:?}");
            assert!(getgrnam(name).expect("a group database").is_none(), "{name:?}");
        }
        assert!(getpwuid(Uid::from_raw(4_000_000_000)).expect("a user database").is_none());
    }

    #[test]
    fn a_group_is_found_by_the_name_that_its_number_has() {
        if let Some(group) = getgrgid(Gid::from_raw(0)).expect("a group database") {
            let by_name = getgrnam(&group.name).expect("a group database").expect("it has this name");
            assert_eq!((by_name.gid, by_name.name), (group.gid, group.name));
        }
    }

    #[test]
    fn an_entry_that_needs_more_room_is_given_more() {
        let tries = std::cell::Cell::new(0);
        let found = entry::<u64, u64>(&|entry| *entry, &|entry, _, length, found| {
            tries.set(tries.get() + 1);
            if length < 8 * ROOM {
                return libc::ERANGE;
            }
            // SAFETY: `entry` passes pointers to live locals of these types.
            unsafe { entry.write(7) };
            // SAFETY: as above.
            unsafe { found.write(entry) };
            0
        });
        assert_eq!((found.expect("no error"), tries.get()), (Some(7), 4));
        let refused = entry::<u64, u64>(&|entry| *entry, &|_, _, _, _| libc::ERANGE);
        assert_eq!(refused.expect_err("too much").raw_os_error(), Some(libc::ERANGE));
    }
}
