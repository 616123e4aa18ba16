//! Unix sockets: how a file comes to be, whose it is, and how it goes.
//!
//! A file that is left of a dead server is replaced under a lock on its directory, so that of two servers that start at
//! once one sees the other. The directory, because it is there already, and no file is left of the lock. A socket is
//! made under another name beside it, gets its mode and owner, listens, and is renamed last: whoever finds the file can
//! connect, and nobody can who may not.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{BACKLOG, Label, Purpose, Refusal, Shown, announce, bound_or_noted, handed, try_again};
use crate::error::Error;
use crate::grammar::{UNFINISHED, UnixPath};
use crate::report;
use crate::sys::{self, Bound, FileLock};

/// Others hold the lock for moments only.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_LOCKS: Duration = Duration::from_millis(5);

/// Binds the path; in a rehearsal or a check everything but the last step, after which there would be a file. Of a check,
/// `None` for a path in use.
pub(super) fn bind(label: &Label, unix: &UnixPath, purpose: Purpose) -> Result<Option<OwnedFd>, Error> {
    let rights = Rights::of(unix)?;
    let path = Path::new(&unix.path);
    // The end of the supervisor removes the file.
    sys::hold_stops();
    let socket = try_again(&Shown(label, &unix.path), purpose, || bind_now(path, &rights, purpose.leaves_no_trace()));
    let socket = bound_or_noted(socket, purpose, Bound::Unix(&[path.to_owned(), unfinished(path)]))?;
    if socket.is_some() {
        announce(label, &unix.path);
    }
    Ok(socket.map(OwnedFd::from))
}

/// Whether there is such an owner and group, of a file that is there already.
pub(super) fn check(unix: &UnixPath) -> Result<(), Error> {
    Rights::of(unix).map(drop)
}

/// Gives a file that this process made as another binary the rights that it is to have now.
pub(super) fn set_rights(unix: &UnixPath) {
    let path = Path::new(&unix.path);
    let result = Rights::of(unix)
        .map_err(|error| error.to_string())
        .and_then(|rights| rights.set(path).map_err(|Refusal { source, advice }| format!("{source}; {advice}")));
    if let Err(why) = result {
        report::warn(&format!("unix:{} keeps the mode, owner and group that it had: {why}", unix.path));
    }
}

/// What becomes of the file.
struct Rights {
    mode: Option<u32>,
    owner: Option<u32>,
    group: Option<u32>,
}

impl Rights {
    fn of(unix: &UnixPath) -> Result<Rights, Error> {
        let user = |name: &str| Ok(sys::getpwnam(name)?.map(|user| user.uid.as_raw()));
        let group = |name: &str| Ok(sys::getgrnam(name)?.map(|group| group.gid.as_raw()));
        Ok(Rights {
            mode: unix.mode,
            owner: id(unix, "user", unix.owner.as_deref(), user)?,
            group: id(unix, "group", unix.group.as_deref(), group)?,
        })
    }

    fn set(&self, file: &Path) -> Result<(), Refusal> {
        if self.owner.is_some() || self.group.is_some() {
            let advice = "only root can give a file to another user, or to a group that it is not in";
            lchown(file, self.owner, self.group).map_err(advise(advice))?;
        }
        if let Some(mode) = self.mode {
            let advice = "the mode of the file cannot be set";
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).map_err(advise(advice))?;
        }
        Ok(())
    }
}

/// The number of what is given by name or number.
fn id(
    unix: &UnixPath,
    what: &str,
    name: Option<&str>,
    look_up: impl Fn(&str) -> io::Result<Option<u32>>,
) -> Result<Option<u32>, Error> {
    let Some(name) = name else { return Ok(None) };
    let found = match look_up(name) {
        Ok(None) => {
            name.parse().map(Some).map_err(|_| format!("there is no {what} {name:?}: write another, or a number"))
        }
        found => found.map_err(|error| format!("cannot look up the {what} {name:?}: {error}")),
    };
    found.map_err(|reason| Error::Option { name: "listen", reason: format!("unix:{}: {reason}", unix.path) })
}

fn bind_now(path: &Path, rights: &Rights, leaves_no_trace: bool) -> Result<Socket, Refusal> {
    let _lock = lock_directory(path)?;
    match look(path)? {
        Found::Nothing | Found::Stale(_) => {}
        Found::Socket => return Err(in_use()),
        Found::Other => return Err(no_socket()),
    }
    let unfinished = unfinished(path);
    // Nobody else is making one now, so it is left of somebody who was killed.
    match fs::symlink_metadata(&unfinished) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(&unfinished).map_err(advise(WRITABLE))?,
        Ok(_) => return Err(no_socket()),
        Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(advise("no Unix socket can be made here"))?;
    let address = SockAddr::unix(&unfinished).map_err(advise("choose a shorter path"))?;
    socket.bind(&address).map_err(advise(WRITABLE))?;
    let finished = finish(&socket, &unfinished, rights).and_then(|file| {
        if leaves_no_trace {
            return Ok(());
        }
        fs::rename(&unfinished, path).map_err(advise(WRITABLE))?;
        let (device, inode) = identity(&file);
        let own = OwnFile { path: path.to_owned(), device, inode, process: process::id() };
        FILES.lock().unwrap_or_else(PoisonError::into_inner).push(own);
        Ok(())
    });
    if leaves_no_trace || finished.is_err() {
        // The error that is reported is the one that matters.
        let _ = fs::remove_file(&unfinished);
    }
    finished.map(|()| socket)
}

/// Nobody can connect before it listens, and then all is as it should be.
fn finish(socket: &Socket, unfinished: &Path, rights: &Rights) -> Result<Metadata, Refusal> {
    rights.set(unfinished)?;
    socket.listen(BACKLOG).map_err(advise(WRITABLE))?;
    fs::symlink_metadata(unfinished).map_err(advise(WRITABLE))
}

const WRITABLE: &str = "this user must be able to write to the directory";

fn advise(advice: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |source| Refusal { source, advice }
}

fn in_use() -> Refusal {
    Refusal { source: io::Error::from_raw_os_error(libc::EADDRINUSE), advice: "another process listens there" }
}

fn no_socket() -> Refusal {
    Refusal {
        source: io::Error::new(ErrorKind::AlreadyExists, "there is a file of this name that is no socket"),
        advice: "remove it, or choose another path",
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(UNFINISHED);
    name.into()
}

/// Until it is dropped, nobody else makes, replaces or removes a socket's file in the directory of this one: flock(2).
fn lock_directory(path: &Path) -> Result<FileLock, Refusal> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let open = File::open(directory);
    let mut opened = open.map_err(advise("its directory must be there, and this user must be able to read it"))?;
    let start = Instant::now();
    loop {
        match FileLock::try_lock(opened) {
            Ok(lock) => return Ok(lock),
            Err((again, error)) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < LOCK_PATIENCE => {
                opened = again;
                sleep(BETWEEN_LOCKS);
            }
            Err((_, error)) => {
                let advice = "its directory cannot be locked: another process may hold a lock on it (see /proc/locks), \
                              or the file system has none; choose another directory";
                return Err(Refusal { source: error, advice });
            }
        }
    }
}

/// What is at a socket's path.
enum Found {
    Nothing,
    /// A socket that nobody listens on.
    Stale(Metadata),
    /// One that is alive.
    Socket,
    Other,
}

fn look(path: &Path) -> Result<Found, Refusal> {
    let advice = "this user must be able to look into the directory";
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Ok(Found::Other),
        Ok(found) => Ok(if is_alive(path)? { Found::Socket } else { Found::Stale(found) }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(advise(advice)(error)),
    }
}

/// Whether somebody has this socket: connect(2) with a socket of another type, which is refused where nobody has it,
/// and which whoever has it does not notice.
fn is_alive(path: &Path) -> Result<bool, Refusal> {
    // Whether there is such a probe says nothing of the socket.
    let probe = || {
        let probe = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        probe.set_nonblocking(true)?;
        Ok((probe, SockAddr::unix(path)?))
    };
    let (probe, address) = probe().map_err(advise("whether another process listens there cannot be found out"))?;
    match probe.connect(&address) {
        // It is of this type, or of another.
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPROTOTYPE | libc::EAGAIN)) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(false),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(advise("it belongs to another user: whether somebody listens there cannot be found out")(error))
        }
        Err(error) => Err(advise("whether another process listens there cannot be found out")(error)),
    }
}

/// A socket's file that this supervisor has made.
struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// A worker has a copy of the list, and removes nothing.
    process: u32,
}

static FILES: Mutex<Vec<OwnFile>> = Mutex::new(Vec::new());

/// The files that this process has made, with device and inode.
pub(crate) fn files() -> Vec<(PathBuf, u64, u64)> {
    let files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    files.iter().map(|file| (file.path.clone(), file.device, file.inode)).collect()
}

/// Makes files its own that this process has made as another binary.
pub(crate) fn adopt_files(files: impl Iterator<Item = (PathBuf, u64, u64)>) {
    let process = process::id();
    let own = files.map(|(path, device, inode)| OwnFile { path, device, inode, process });
    FILES.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
}

/// Removes the files that this process has made, where they are still its own. Another socket there may have the same
/// inode number by now, but then somebody listens on it.
pub(crate) fn remove_files() {
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    if files.first().is_none_or(|file| file.process != process::id()) {
        return;
    }
    handed::close();
    for own in files.drain(..) {
        if let Err(Refusal { source, advice }) = remove(&own) {
            report::warn(&format!("unix:{} is left behind: {source}; {advice}", own.path.display()));
        }
    }
}

/// Leaves the file in its place: somebody else has the socket too.
pub(super) fn leave_file(path: &Path) {
    FILES.lock().unwrap_or_else(PoisonError::into_inner).retain(|file| file.path != path);
}

/// Whether the file that is there is one that this process has made, and still its own.
pub(super) fn is_own(path: &Path) -> bool {
    let found = socket_at(path);
    files().into_iter().any(|(own, device, inode)| own == path && found == Some((device, inode)))
}

/// Which file is there, if it is a socket's. As long as the socket lives, no other file is called so.
pub(super) fn socket_at(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    found.file_type().is_socket().then(|| identity(&found))
}

fn remove(own: &OwnFile) -> Result<(), Refusal> {
    let _lock = lock_directory(&own.path)?;
    match look(&own.path)? {
        Found::Stale(file) if identity(&file) == (own.device, own.inode) => {
            fs::remove_file(&own.path).map_err(advise(WRITABLE))
        }
        _ => Ok(()),
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
