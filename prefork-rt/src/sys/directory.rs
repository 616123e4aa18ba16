//! A directory that is opened once, and what is done to the names in it: openat(2) and its family.
//!
//! A path that is named twice may lead to two files, when another user may exchange one of its parts between the two
//! calls. A descriptor leads to one directory or file for good.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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

/// Device and inode. No other file has them as long as this one exists.
pub(crate) type FileId = (u64, u64);

/// As many symbolic links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// A directory that is open.
#[derive(Debug)]
pub(crate) struct Directory {
    opened: OwnedFd,
    /// The path by which it was found, without symbolic links.
    path: PathBuf,
}

/// A file as it is at one moment: of which kind, and which it is. On Linux it is open (O_PATH), so what is done to it is done
/// to this very file, whatever becomes of its name.
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
    /// Opens an absolute path, part by part. A FIFO or a device among its parts is not waited for: nothing but directories is
    /// opened.
    ///
    /// A symbolic link is followed if it belongs to root or to this user, as /var/run does. A link of another user may lead to
    /// that user's own directories only: such a user could otherwise have this process write to any directory. So may a link
    /// that has a second name (link(2)), as any user may have given it that name. The error of the refusal is a [`ForeignLink`].
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
                    strangers.extend(of_stranger.map(|owner| ForeignLink { link: at.path.join(&part), owner }));
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
        Ok(Directory { opened: open("/", flags, Mode::empty())?, path: "/".into() })
    }

    fn step(&self, part: &OsStr) -> io::Result<Step> {
        let flags = system::SEARCHED | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match openat(&self.opened, part, flags, Mode::empty()) {
            Ok(opened) => Ok(Step::Directory(Directory { opened, path: self.path_of(part) })),
            // Of a symbolic link it is one or the other, from system to system.
            Err(Errno::ENOTDIR | Errno::ELOOP | Errno::EMLINK) => self.link(part),
            Err(error) => Err(error.into()),
        }
    }

    fn link(&self, part: &OsStr) -> io::Result<Step> {
        let link = self.look(part)?.ok_or(Errno::ENOENT)?;
        if !link.is(SFlag::S_IFLNK) {
            return Err(Errno::ENOTDIR.into());
        }
        let target = match &link.opened {
            Some(opened) => readlinkat(opened, "")?,
            None => readlinkat(&self.opened, part)?,
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

    /// A second descriptor of it, which can be locked if it was opened by [`Directory::open_private`].
    pub(crate) fn file(&self) -> io::Result<File> {
        Ok(self.opened.try_clone()?.into())
    }

    /// What has this name; `None` where there is nothing.
    pub(crate) fn look(&self, name: &OsStr) -> io::Result<Option<Entry>> {
        match system::look(self.opened.as_fd(), name) {
            Ok((stat, opened)) => Ok(Some(Entry { stat, opened })),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a directory that only this user may enter: mkdir(2).
    pub(crate) fn make_private(&self, name: &OsStr) -> io::Result<()> {
        Ok(mkdirat(&self.opened, name, Mode::S_IRWXU)?)
    }

    /// Opens a directory to be written to and locked, without following a link. `None` where it is another user's, or where
    /// others may enter it.
    pub(crate) fn open_private(&self, name: &OsStr) -> io::Result<Option<Directory>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = openat(&self.opened, name, flags, Mode::empty())?;
        let stat = fstat(&opened)?;
        let is_private = Uid::from_raw(stat.st_uid) == geteuid() && stat.st_mode & 0o077 == 0;
        Ok(is_private.then(|| Directory { opened, path: self.path_of(name) }))
    }

    /// Gives the file of this name to a user or a group: chown(2). For a directory in which no other user can exchange names.
    pub(crate) fn set_owner(&self, name: &OsStr, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        Ok(fchownat(&self.opened, name, owner, group, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// chmod(2). It follows a link: for a directory in which no other user can exchange names.
    pub(crate) fn set_mode(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(fchmodat(&self.opened, name, permissions(mode), FchmodatFlags::FollowSymlink)?)
    }

    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.opened, name, UnlinkatFlags::NoRemoveDir)?)
    }

    pub(crate) fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.opened, name, UnlinkatFlags::RemoveDir)?)
    }

    /// Moves a file to another directory, over what has the new name there: rename(2).
    pub(crate) fn rename(&self, name: &OsStr, to: &Directory, new: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.opened, name, &to.opened, new)?)
    }

    /// Moves a file to another directory if the new name is free: renameat2(2); and where the system or the file system has no
    /// such call, link(2) and unlink(2). [`io::ErrorKind::AlreadyExists`] where the name is not free.
    pub(crate) fn rename_to_free(&self, name: &OsStr, to: &Directory, new: &OsStr) -> io::Result<()> {
        match system::rename_to_free(self.opened.as_fd(), name, to.opened.as_fd(), new) {
            // A filter of system calls that does not know this one answers EPERM.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => {
                linkat(&self.opened, name, &to.opened, new, LinkatFlags::empty())?;
                self.remove(name)
            }
            result => Ok(result?),
        }
    }

    /// Calls what takes the address of a socket, bind(2) or connect(2), with one that leads to a name in this very directory:
    /// `/proc/self/fd/3/NAME`. Where there is no /proc, it is the bare name, and this directory is the working directory of
    /// the process for this moment: fchdir(2).
    pub(crate) fn with_address<T>(&self, name: &OsStr, call: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        if let Some(path) = path_of_descriptor(self.opened.as_fd()) {
            return call(&path.join(name));
        }
        let here = open(".", system::SEARCHED | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
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

    /// What connect(2) takes for this very file. `None` where there is no /proc.
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
        // fchmod(2) takes no descriptor of this kind, and fchmodat2(2) is of Linux 6.6.
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

/// The last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let named = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.map(|part| part.as_os_str().to_owned()).collect()
}

// The types differ from system to system.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "they are the same on Linux")]
fn id(stat: &FileStat) -> FileId {
    (stat.st_dev as u64, stat.st_ino.into())
}

fn permissions(mode: u32) -> Mode {
    #[allow(clippy::unnecessary_cast, reason = "it is u32 on Linux")]
    Mode::from_bits_truncate(mode as mode_t)
}

/// `/proc/self/fd/3`, where that is this file: there may be no /proc, or that of other processes.
fn path_of_descriptor(opened: BorrowedFd<'_>) -> Option<PathBuf> {
    if cfg!(not(any(target_os = "linux", target_os = "android"))) {
        return None;
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened)));
    let (found, stat) = (fs::metadata(&path).ok()?, fstat(opened).ok()?);
    ((found.dev(), found.ino()) == id(&stat)).then_some(path)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::ffi::{CString, OsStr};
    use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;

    use nix::errno::Errno;
    use nix::fcntl::{AtFlags, OFlag, openat};
    use nix::sys::stat::{FileStat, Mode, fstat};
    use nix::unistd::{Gid, Uid, fchownat};

    /// To look up names in it, which takes no right to read it.
    pub(super) const SEARCHED: OFlag = OFlag::O_PATH;

    const RENAME_NOREPLACE: libc::c_uint = 1;

    pub(super) fn look(at: BorrowedFd<'_>, name: &OsStr) -> Result<(FileStat, Option<OwnedFd>), Errno> {
        let opened = openat(at, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok((fstat(&opened)?, Some(opened)))
    }

    pub(super) fn rename_to_free(
        from: BorrowedFd<'_>,
        name: &OsStr,
        to: BorrowedFd<'_>,
        new: &OsStr,
    ) -> Result<(), Errno> {
        let text = |name: &OsStr| CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL);
        let (name, new) = (text(name)?, text(new)?);
        // musl has no function for it.
        // SAFETY: renameat2(2) reads two strings that end with a null byte, and keeps neither; both live until it returns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                from.as_raw_fd(),
                name.as_ptr(),
                to.as_raw_fd(),
                new.as_ptr(),
                RENAME_NOREPLACE,
            )
        };
        Errno::result(result).map(drop)
    }

    pub(super) fn set_owner(file: BorrowedFd<'_>, owner: Option<Uid>, group: Option<Gid>) -> Result<(), Errno> {
        fchownat(file, "", owner, group, AtFlags::AT_EMPTY_PATH)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod portable {
    use std::ffi::OsStr;
    use std::os::fd::{BorrowedFd, OwnedFd};

    use nix::errno::Errno;
    use nix::fcntl::{AtFlags, OFlag};
    use nix::sys::stat::{FileStat, fstatat};
    use nix::unistd::{Gid, Uid};

    pub(super) const SEARCHED: OFlag = OFlag::O_RDONLY;

    pub(super) fn look(at: BorrowedFd<'_>, name: &OsStr) -> Result<(FileStat, Option<OwnedFd>), Errno> {
        Ok((fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW)?, None))
    }

    pub(super) fn rename_to_free(_: BorrowedFd<'_>, _: &OsStr, _: BorrowedFd<'_>, _: &OsStr) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    pub(super) fn set_owner(_: BorrowedFd<'_>, _: Option<Uid>, _: Option<Gid>) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
}

/// For tests of other folders, which have no `unsafe`: what an attacker does.
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod attack {
    use std::ffi::CString;
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    /// Makes this thread, and no other one of the process, another user for good. False where it may not.
    pub(crate) fn become_user(id: u32) -> bool {
        // The C library's functions would change every thread.
        // SAFETY: setgroups(2) reads no list where its length is 0.
        let groups = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) };
        // SAFETY: setresgid(2) takes three numbers and touches no memory.
        let group = unsafe { libc::syscall(libc::SYS_setresgid, id, id, id) };
        // SAFETY: setresuid(2) takes three numbers and touches no memory.
        let user = unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) };
        [groups, group, user] == [0; 3]
    }

    /// Lets two files change names: renameat2(2).
    pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
        let [one, other] = [one, other].map(|path| CString::new(path.as_os_str().as_bytes()).expect("no null"));
        // SAFETY: renameat2(2) reads two strings that end with a null byte; both live until it returns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                libc::AT_FDCWD,
                one.as_ptr(),
                libc::AT_FDCWD,
                other.as_ptr(),
                libc::RENAME_EXCHANGE,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Removed at the end.
    struct Own(PathBuf);

    impl Own {
        fn new(test: &str) -> Own {
            let path = std::env::temp_dir().join(format!("prefork-directory-{test}-{}", std::process::id()));
            fs::create_dir(&path).expect("a directory");
            Own(path.canonicalize().expect("a path"))
        }

        fn directory(&self, name: &str, owner: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir(&path).expect("a directory");
            chown(&path, Some(owner), None).expect("it can be given");
            path
        }

        fn link(&self, name: &str, target: &Path, owner: u32) -> PathBuf {
            let link = self.0.join(name);
            symlink(target, &link).expect("a link");
            std::os::unix::fs::lchown(&link, Some(owner), None).expect("it can be given");
            link
        }
    }

    impl Drop for Own {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const STRANGER: u32 = 65534;

    fn opens(path: &Path) -> Result<PathBuf, io::Error> {
        Directory::open(path).map(|directory| directory.path().to_owned())
    }

    #[test]
    fn a_path_leads_where_the_kernel_leads_it() {
        let own = Own::new("path");
        let real = own.directory("real", geteuid().as_raw());
        fs::create_dir(real.join("inner")).expect("a directory");
        let link = own.link("link", Path::new("./real"), geteuid().as_raw());
        let absolute = own.link("absolute", &real, geteuid().as_raw());
        for path in [&real, &link, &absolute, &real.join("inner/.."), &link.join("inner/../../real"), Path::new("/")] {
            assert_eq!(opens(path).expect("a directory"), path.canonicalize().expect("a path"), "{path:?}");
        }
        let itself = own.link("itself", Path::new("itself"), geteuid().as_raw());
        assert_eq!(opens(&itself).expect_err("a loop").raw_os_error(), Some(libc::ELOOP));
        fs::write(own.0.join("file"), "").expect("a file");
        assert_eq!(opens(&own.0.join("file")).expect_err("a file").raw_os_error(), Some(libc::ENOTDIR));
        assert_eq!(opens(&own.0.join("none")).expect_err("nothing").raw_os_error(), Some(libc::ENOENT));
        nix::unistd::mkfifo(&own.0.join("fifo"), Mode::S_IRWXU).expect("a FIFO");
        assert_eq!(opens(&own.0.join("fifo")).expect_err("a FIFO").raw_os_error(), Some(libc::ENOTDIR));
        assert_eq!(opens(&own.0.join("fifo/a")).expect_err("a FIFO").raw_os_error(), Some(libc::ENOTDIR));
    }

    #[test]
    fn a_link_of_another_user_leads_to_that_user_s_directories_only() {
        if !geteuid().is_root() {
            return eprintln!("skipped: only root can give files away");
        }
        let own = Own::new("links");
        let (roots, theirs) = (own.directory("roots", 0), own.directory("theirs", STRANGER));
        for (name, target, owner, is_followed) in [
            ("root-to-theirs", &theirs, 0, true),
            ("root-to-roots", &roots, 0, true),
            ("theirs-to-theirs", &theirs, STRANGER, true),
            ("theirs-to-roots", &roots, STRANGER, false),
            ("another-s-to-theirs", &theirs, 1, false),
        ] {
            let link = own.link(name, target, owner);
            assert_eq!(opens(&link).is_ok(), is_followed, "{name}");
            assert_eq!(opens(&link.join(".")).is_ok(), is_followed, "{name}");
        }
        let error = opens(&own.0.join("theirs-to-roots")).expect_err("a link");
        assert!(error.get_ref().is_some_and(|error| error.is::<ForeignLink>()) && error.to_string().contains("65534"));
        // Any user may give a link of root's a second name, where the system lets them: link(2).
        let (link, second) = (own.0.join("root-to-roots"), own.0.join("second"));
        let here = open("/", OFlag::O_PATH, Mode::empty()).expect("a directory");
        linkat(&here, &link, &here, &second, LinkatFlags::empty()).expect("a second name");
        assert!(opens(&second).expect_err("a link").to_string().contains("second name"));
    }

    #[test]
    fn what_is_done_to_an_entry_is_done_to_the_file_that_was_looked_at() {
        let own = Own::new("entry");
        let directory = Directory::open(&own.0).expect("a directory");
        let [socket, other] = ["socket", "other"].map(|name| own.0.join(name));
        let _listener = UnixListener::bind(&socket).expect("a socket");
        let entry = directory.look(OsStr::new("socket")).expect("a look").expect("a file");
        fs::write(&other, "").expect("a file");
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).expect("its mode");
        fs::rename(&socket, own.0.join("moved")).expect("moved");
        symlink(&other, &socket).expect("a link");
        entry.set_mode(0o666).expect("a mode");
        entry.set_owner(Some(geteuid().as_raw()), None).expect("its own owner");
        let mode = |path: &Path| fs::metadata(path).expect("a file").mode() & 0o7777;
        assert_eq!((mode(&other), mode(&own.0.join("moved"))), (0o600, 0o666));
        assert!(entry.is_socket());
        assert!(!directory.look(OsStr::new("socket")).expect("a look").expect("a link").is_socket());
    }

    #[test]
    fn a_name_that_is_not_free_is_not_taken() {
        let own = Own::new("free");
        let directory = Directory::open(&own.0).expect("a directory");
        fs::write(own.0.join("one"), "1").expect("a file");
        fs::write(own.0.join("two"), "2").expect("a file");
        let [one, two, three] = ["one", "two", "three"].map(OsStr::new);
        let error = directory.rename_to_free(one, &directory, two).expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        directory.rename_to_free(one, &directory, three).expect("it is free");
        assert_eq!(
            (fs::read(own.0.join("two")).unwrap(), fs::read(own.0.join("three")).unwrap()),
            (b"2".into(), b"1".into())
        );
    }

    #[test]
    fn a_directory_that_others_may_enter_is_not_private() {
        let own = Own::new("private");
        let directory = Directory::open(&own.0).expect("a directory");
        let name = OsStr::new("private");
        directory.make_private(name).expect("a directory");
        assert!(directory.open_private(name).expect("it opens").is_some());
        for mode in [0o701, 0o710, 0o755] {
            fs::set_permissions(own.0.join(name), fs::Permissions::from_mode(mode)).expect("its mode");
            assert!(directory.open_private(name).expect("it opens").is_none(), "{mode:o}");
        }
        symlink(".", own.0.join("link")).expect("a link");
        directory.open_private(OsStr::new("link")).expect_err("a link");
        nix::unistd::mkfifo(&own.0.join("fifo"), Mode::S_IRWXU).expect("a FIFO");
        directory.open_private(OsStr::new("fifo")).expect_err("a FIFO");
    }
}
