//! A directory that is opened once, and what is done to the names in it: openat(2) and its family.
//!
//! Two calls with one path may reach two files, where another user can exchange a part of the path between the calls. A
//! descriptor leads to one directory or file for good. This must not know what a file is for.

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod attack;
mod calls; // openat(2) and its family
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::error::Error;
use std::ffi::{CStr, CString, OsStr, OsString, c_int};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use calls::{fchmodat, fchownat, linkat, mkdirat, openat, readlinkat, renameat, unlinkat};
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use portable as system;

use super::outcome::is;
use super::{Uid, change_directory, descriptor, geteuid};

/// The device and the inode of a file. No other file has both as long as this one exists.
pub(crate) type FileId = (u64, u64);

/// The kernel follows this many symbolic links in one path.
const MOST_LINKS: usize = 40;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    opened: OwnedFd,
    /// The path to it, without symbolic links.
    path: PathBuf,
}

/// A file as it was when it was looked up: its kind, and which file it is. On Linux it is open (O_PATH), so what is done to it
/// is done to this very file, whatever becomes of its name.
#[derive(Debug)]
pub(crate) struct Entry {
    id: FileId,
    kind: libc::mode_t,
    owner: Uid,
    /// No second name leads to it.
    has_one_name: bool,
    opened: Option<OwnedFd>,
}

/// A symbolic link of another user that leads to a directory that does not belong to that user.
#[derive(Debug)]
pub(crate) struct ForeignLink {
    link: PathBuf,
    owner: Uid,
}

enum Step {
    Directory(Directory),
    Link { target: PathBuf, of_stranger: Option<Uid> },
}

impl Directory {
    /// Opens an absolute path, part by part. Only directories are opened, so a FIFO or a device in the path is not waited for.
    ///
    /// A symbolic link is followed if it belongs to root, as /var/run does, or to this user. A link of another user may only
    /// lead to that user's directories, because it could otherwise have this process write to any directory. This also holds
    /// for a link with a second name (link(2)), because any user may have given it that name. The error is a [`ForeignLink`].
    pub(crate) fn open(path: &Path) -> io::Result<Directory> {
        let mut at = Directory::root()?;
        let mut parts = parts(path);
        let (mut links, mut strangers) = (0, Vec::new());
        while let Some(part) = parts.pop() {
            match at.step(&part)? {
                Step::Directory(next) => at = next,
                Step::Link { .. } if links == MOST_LINKS => return Err(error(libc::ELOOP)),
                Step::Link { target, of_stranger } => {
                    links += 1;
                    if let Some(owner) = of_stranger {
                        strangers.push(ForeignLink { link: at.path.join(&part), owner });
                    }
                    if target.is_absolute() {
                        at = Directory::root()?;
                    }
                    parts.extend(self::parts(&target));
                }
            }
        }
        let owner = Uid::from_raw(at.status()?.st_uid);
        for link in strangers {
            if link.owner != owner || link.owner.is_root() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, link));
            }
        }
        Ok(at)
    }

    fn root() -> io::Result<Directory> {
        Ok(Directory { opened: open_for_search(c"/")?, path: "/".into() })
    }

    fn status(&self) -> io::Result<libc::stat> {
        descriptor::status(self.opened.as_raw_fd())
    }

    fn step(&self, part: &OsStr) -> io::Result<Step> {
        let flags = system::SEARCHED | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        match openat(self.opened.as_fd(), &c_name(part)?, flags) {
            Ok(opened) => Ok(Step::Directory(Directory { opened, path: self.path_of(part) })),
            Err(error) => match error.raw_os_error() {
                // A symbolic link is one of these errors, which one depends on the system.
                Some(libc::ENOTDIR | libc::ELOOP | libc::EMLINK) => self.link(part),
                _ => Err(error),
            },
        }
    }

    fn link(&self, part: &OsStr) -> io::Result<Step> {
        let link = self.entry(part)?.ok_or_else(|| error(libc::ENOENT))?;
        if link.kind != libc::S_IFLNK {
            return Err(error(libc::ENOTDIR));
        }
        let target = match &link.opened {
            Some(opened) => readlinkat(opened.as_fd(), c"")?,
            None => readlinkat(self.opened.as_fd(), &c_name(part)?)?,
        };
        let is_trusted = (link.owner.is_root() || link.owner == geteuid()) && link.has_one_name;
        Ok(Step::Link { target: target.into(), of_stranger: (!is_trusted).then_some(link.owner) })
    }

    fn path_of(&self, part: &OsStr) -> PathBuf {
        if part == ".." { self.path.parent().unwrap_or(&self.path).to_owned() } else { self.path.join(part) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn id(&self) -> io::Result<FileId> {
        Ok(id(&self.status()?))
    }

    /// A second descriptor of the directory, which can be locked if [`Directory::open_private`] has opened it.
    pub(crate) fn file(&self) -> io::Result<File> {
        Ok(self.opened.try_clone()?.into())
    }

    /// The file with this name, or `None`.
    pub(crate) fn entry(&self, name: &OsStr) -> io::Result<Option<Entry>> {
        match system::entry(self.opened.as_fd(), &c_name(name)?) {
            Ok((status, opened)) => Ok(Some(Entry {
                id: id(&status),
                kind: status.st_mode & libc::S_IFMT,
                owner: Uid::from_raw(status.st_uid),
                has_one_name: status.st_nlink == 1,
                opened,
            })),
            Err(error) if is(&error, libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a directory that only this user may enter: mkdir(2).
    pub(crate) fn make_private(&self, name: &OsStr) -> io::Result<()> {
        mkdirat(self.opened.as_fd(), &c_name(name)?, 0o700)
    }

    /// Opens a directory, so that files can be made in it and it can be locked, without following a link. `None` where it is
    /// another user's, or others may enter it.
    pub(crate) fn open_private(&self, name: &OsStr) -> io::Result<Option<Directory>> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = openat(self.opened.as_fd(), &c_name(name)?, flags)?;
        let directory = Directory { opened, path: self.path_of(name) };
        let status = directory.status()?;
        let is_private = Uid::from_raw(status.st_uid) == geteuid() && status.st_mode & 0o077 == 0;
        Ok(is_private.then_some(directory))
    }

    /// Gives the file of this name to a user or a group: chown(2). Only for a directory in which no other user can exchange
    /// names.
    pub(crate) fn set_owner(&self, name: &OsStr, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        fchownat(self.opened.as_fd(), &c_name(name)?, owner, group, libc::AT_SYMLINK_NOFOLLOW)
    }

    /// chmod(2), which follows a link. Only for a directory in which no other user can exchange names.
    pub(crate) fn set_mode(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        #[allow(clippy::unnecessary_cast, reason = "it is u32 on Linux")]
        fchmodat(self.opened.as_fd(), &c_name(name)?, mode as libc::mode_t)
    }

    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        unlinkat(self.opened.as_fd(), &c_name(name)?, 0)
    }

    pub(crate) fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        unlinkat(self.opened.as_fd(), &c_name(name)?, libc::AT_REMOVEDIR)
    }

    /// Moves a file to another directory, in the place of the file with the new name: rename(2).
    pub(crate) fn rename(&self, name: &OsStr, to: &Directory, new: &OsStr) -> io::Result<()> {
        renameat(self.opened.as_fd(), &c_name(name)?, to.opened.as_fd(), &c_name(new)?)
    }

    /// Moves a file to another directory if the new name is free: renameat2(2). Where the system or the file system has no such
    /// call, link(2) and unlink(2). [`io::ErrorKind::AlreadyExists`] where the name is not free.
    pub(crate) fn rename_to_free(&self, name: &OsStr, to: &Directory, new: &OsStr) -> io::Result<()> {
        let (old, new) = (c_name(name)?, c_name(new)?);
        match system::rename_to_free(self.opened.as_fd(), &old, to.opened.as_fd(), &new) {
            Err(error) => match error.raw_os_error() {
                // A filter that does not know this system call returns EPERM.
                Some(libc::EINVAL | libc::ENOSYS | libc::EPERM) => {
                    linkat(self.opened.as_fd(), &old, to.opened.as_fd(), &new)?;
                    self.remove(name)
                }
                _ => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }

    /// Runs `call`, which does bind(2) or connect(2), with an address that leads to a name in this very directory:
    /// `/proc/self/fd/3/NAME`. Where there is no /proc, the address is the bare name, and this directory is the working
    /// directory of the process during the call: fchdir(2).
    pub(crate) fn with_address<T>(&self, name: &OsStr, call: &dyn Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        if let Some(path) = path_of_descriptor(self.opened.as_fd()) {
            return call(&path.join(name));
        }
        let here = open_for_search(c".")?;
        change_directory(self.opened.as_fd())?;
        let result = call(name.as_ref());
        change_directory(here.as_fd())?;
        result
    }
}

impl Entry {
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    pub(crate) fn is_socket(&self) -> bool {
        self.kind == libc::S_IFSOCK
    }

    /// An address for connect(2) that leads to this very file. `None` where there is no /proc.
    pub(crate) fn address(&self) -> Option<PathBuf> {
        path_of_descriptor(self.opened.as_ref()?.as_fd())
    }

    /// Gives this very file to a user or a group: fchownat(2).
    pub(crate) fn set_owner(&self, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let opened = self.opened.as_ref().ok_or_else(|| error(libc::ENOSYS))?;
        system::set_owner(opened.as_fd(), owner, group)
    }

    /// chmod(2) of this very file.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        // fchmod(2) takes no O_PATH descriptor, and fchmodat2(2) needs Linux 6.6.
        let path = self.address().ok_or_else(|| error(libc::ENOSYS))?;
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
    }
}

impl fmt::Display for ForeignLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ForeignLink { link, owner } = self;
        let link = link.display();
        write!(f, "the symbolic link {link} belongs to user {owner}, or has a second name, and leads elsewhere")
    }
}

impl Error for ForeignLink {}

/// The names in a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let mut parts = Vec::new();
    for part in path.components().rev() {
        if matches!(part, Component::Normal(_) | Component::ParentDir) {
            parts.push(part.as_os_str().to_owned());
        }
    }
    parts
}

/// The name for a system call.
fn c_name(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| error(libc::EINVAL))
}

fn error(number: c_int) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// Opens a directory only to look up names in it.
fn open_for_search(path: &CStr) -> io::Result<OwnedFd> {
    descriptor::open(path, system::SEARCHED | libc::O_DIRECTORY)
}

// The types are others on other systems.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "they are the same on Linux")]
fn id(status: &libc::stat) -> FileId {
    (status.st_dev as u64, status.st_ino.into())
}

/// `/proc/self/fd/3`, if that leads to this file: there may be no /proc, or one of another PID namespace.
fn path_of_descriptor(opened: BorrowedFd<'_>) -> Option<PathBuf> {
    if cfg!(not(any(target_os = "linux", target_os = "android"))) {
        return None;
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let (found, status) = (fs::metadata(&path).ok()?, descriptor::status(opened.as_raw_fd()).ok()?);
    ((found.dev(), found.ino()) == id(&status)).then_some(path)
}
