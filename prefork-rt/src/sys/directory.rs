//! A directory that is opened once, and what is done to the names in it: openat(2) and its family.
//!
//! Two calls with one path may reach two files, where another user can exchange a part of the path between the calls. A
//! descriptor leads to one directory or file for good. This must not know what a file is for.

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod attack;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::error::Error;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, mkdirat, mode_t};
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchdir, fchownat, geteuid, linkat, unlinkat};

#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use portable as system;

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
    stat: FileStat,
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
                Step::Link { .. } if links == MOST_LINKS => return Err(Errno::ELOOP.into()),
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
        let owner = Uid::from_raw(fstat(&at.opened)?.st_uid);
        match strangers.into_iter().find(|link| link.owner != owner || link.owner.is_root()) {
            Some(link) => Err(io::Error::new(io::ErrorKind::PermissionDenied, link)),
            None => Ok(at),
        }
    }

    fn root() -> io::Result<Directory> {
        let flags = system::SEARCHED | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Directory { opened: open(c"/", flags, Mode::empty())?, path: "/".into() })
    }

    fn step(&self, part: &OsStr) -> io::Result<Step> {
        let flags = system::SEARCHED | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match openat(&self.opened, c_name(part)?.as_c_str(), flags, Mode::empty()) {
            Ok(opened) => Ok(Step::Directory(Directory { opened, path: self.path_of(part) })),
            // A symbolic link is one of these errors, which one depends on the system.
            Err(Errno::ENOTDIR | Errno::ELOOP | Errno::EMLINK) => self.link(part),
            Err(error) => Err(error.into()),
        }
    }

    fn link(&self, part: &OsStr) -> io::Result<Step> {
        let link = self.entry(part)?.ok_or(Errno::ENOENT)?;
        if !link.is(SFlag::S_IFLNK) {
            return Err(Errno::ENOTDIR.into());
        }
        let target = match &link.opened {
            Some(opened) => readlinkat(opened, c"")?,
            None => readlinkat(&self.opened, c_name(part)?.as_c_str())?,
        };
        let owner = Uid::from_raw(link.stat.st_uid);
        let is_trusted = (owner.is_root() || owner == geteuid()) && link.stat.st_nlink == 1;
        Ok(Step::Link { target: target.into(), of_stranger: (!is_trusted).then_some(owner) })
    }

    fn path_of(&self, part: &OsStr) -> PathBuf {
        if part == ".." { self.path.parent().unwrap_or(&self.path).to_owned() } else { self.path.join(part) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn id(&self) -> io::Result<FileId> {
        Ok(id(&fstat(&self.opened)?))
    }

    /// A second descriptor of the directory, which can be locked if [`Directory::open_private`] has opened it.
    pub(crate) fn file(&self) -> io::Result<File> {
        Ok(self.opened.try_clone()?.into())
    }

    /// The file with this name, or `None`.
    pub(crate) fn entry(&self, name: &OsStr) -> io::Result<Option<Entry>> {
        match system::entry(self.opened.as_fd(), &c_name(name)?) {
            Ok((stat, opened)) => Ok(Some(Entry { stat, opened })),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a directory that only this user may enter: mkdir(2).
    pub(crate) fn make_private(&self, name: &OsStr) -> io::Result<()> {
        Ok(mkdirat(&self.opened, c_name(name)?.as_c_str(), Mode::S_IRWXU)?)
    }

    /// Opens a directory, so that files can be made in it and it can be locked, without following a link. `None` where it is
    /// another user's, or others may enter it.
    pub(crate) fn open_private(&self, name: &OsStr) -> io::Result<Option<Directory>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = openat(&self.opened, c_name(name)?.as_c_str(), flags, Mode::empty())?;
        let stat = fstat(&opened)?;
        let is_private = Uid::from_raw(stat.st_uid) == geteuid() && stat.st_mode & 0o077 == 0;
        Ok(is_private.then(|| Directory { opened, path: self.path_of(name) }))
    }

    /// Gives the file of this name to a user or a group: chown(2). Only for a directory in which no other user can exchange
    /// names.
    pub(crate) fn set_owner(&self, name: &OsStr, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        Ok(fchownat(&self.opened, c_name(name)?.as_c_str(), owner, group, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// chmod(2), which follows a link. Only for a directory in which no other user can exchange names.
    pub(crate) fn set_mode(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(fchmodat(&self.opened, c_name(name)?.as_c_str(), permissions(mode), FchmodatFlags::FollowSymlink)?)
    }

    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.opened, c_name(name)?.as_c_str(), UnlinkatFlags::NoRemoveDir)?)
    }

    pub(crate) fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.opened, c_name(name)?.as_c_str(), UnlinkatFlags::RemoveDir)?)
    }

    /// Moves a file to another directory, in the place of the file with the new name: rename(2).
    pub(crate) fn rename(&self, name: &OsStr, to: &Directory, new: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.opened, c_name(name)?.as_c_str(), &to.opened, c_name(new)?.as_c_str())?)
    }

    /// Moves a file to another directory if the new name is free: renameat2(2). Where the system or the file system has no such
    /// call, link(2) and unlink(2). [`io::ErrorKind::AlreadyExists`] where the name is not free.
    pub(crate) fn rename_to_free(&self, name: &OsStr, to: &Directory, new: &OsStr) -> io::Result<()> {
        let (old, new) = (c_name(name)?, c_name(new)?);
        match system::rename_to_free(self.opened.as_fd(), &old, to.opened.as_fd(), &new) {
            // A filter that does not know this system call returns EPERM.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => {
                linkat(&self.opened, old.as_c_str(), &to.opened, new.as_c_str(), LinkatFlags::empty())?;
                self.remove(name)
            }
            result => Ok(result?),
        }
    }

    /// Runs `call`, which does bind(2) or connect(2), with an address that leads to a name in this very directory:
    /// `/proc/self/fd/3/NAME`. Where there is no /proc, the address is the bare name, and this directory is the working
    /// directory of the process during the call: fchdir(2).
    pub(crate) fn with_address<T>(&self, name: &OsStr, call: &dyn Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        if let Some(path) = path_of_descriptor(self.opened.as_fd()) {
            return call(&path.join(name));
        }
        let here = open(c".", system::SEARCHED | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        fchdir(&self.opened)?;
        let result = call(name.as_ref());
        fchdir(&here)?;
        result
    }
}

impl Entry {
    pub(crate) fn id(&self) -> FileId {
        id(&self.stat)
    }

    pub(crate) fn is_socket(&self) -> bool {
        self.is(SFlag::S_IFSOCK)
    }

    fn is(&self, kind: SFlag) -> bool {
        SFlag::from_bits_truncate(self.stat.st_mode & SFlag::S_IFMT.bits()) == kind
    }

    /// An address for connect(2) that leads to this very file. `None` where there is no /proc.
    pub(crate) fn address(&self) -> Option<PathBuf> {
        path_of_descriptor(self.opened.as_ref()?.as_fd())
    }

    /// Gives this very file to a user or a group: fchownat(2).
    pub(crate) fn set_owner(&self, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let opened = self.opened.as_ref().ok_or(Errno::ENOSYS)?;
        Ok(system::set_owner(opened.as_fd(), owner.map(Uid::from_raw), group.map(Gid::from_raw))?)
    }

    /// chmod(2) of this very file.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        // fchmod(2) takes no O_PATH descriptor, and fchmodat2(2) needs Linux 6.6.
        let path = self.address().ok_or(Errno::ENOSYS)?;
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

/// The name for a system call. (nix would make it in the function of each call.)
fn c_name(name: &OsStr) -> Result<CString, Errno> {
    CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL)
}

// The types are others on other systems.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "they are the same on Linux")]
fn id(stat: &FileStat) -> FileId {
    (stat.st_dev as u64, stat.st_ino.into())
}

fn permissions(mode: u32) -> Mode {
    #[allow(clippy::unnecessary_cast, reason = "it is u32 on Linux")]
    Mode::from_bits_truncate(mode as mode_t)
}

/// `/proc/self/fd/3`, if that leads to this file: there may be no /proc, or one of another PID namespace.
fn path_of_descriptor(opened: BorrowedFd<'_>) -> Option<PathBuf> {
    if cfg!(not(any(target_os = "linux", target_os = "android"))) {
        return None;
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened)));
    let (found, stat) = (fs::metadata(&path).ok()?, fstat(opened).ok()?);
    ((found.dev(), found.ino()) == id(&stat)).then_some(path)
}
