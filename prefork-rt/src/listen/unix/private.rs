//! A private directory beside a socket's place, which only this user can enter: the socket is made in it, and its lock
//! is the lock of the path.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::advice::{WRITABLE, advise, in_use};
use super::place::Place;
use super::rights::Rights;
use crate::listen::attempt::{BACKLOG, Refusal};
use crate::logging;
use crate::sys::{self, Directory, FileId, FileLock};

/// Other starts and ends of this user hold the lock for moments only.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_LOCKS: Duration = Duration::from_millis(5);
/// The number of times that the directory may vanish: other starts remove it when they have had the lock, and another
/// user may replace names.
const MOST_TRIES: u32 = 64;
/// The name of the file that was in the place before.
const OLD: &str = "old";

/// The directory, which is removed on drop, with what is left in it.
pub(super) struct Private<'a> {
    place: &'a Place,
    name: OsString,
    directory: Directory,
    socket: OsString,
    /// Until it is dropped, no other process of this user makes, replaces or removes a socket's file in this place.
    lock: Result<FileLock, String>,
}

enum Tried {
    Entered(Directory, FileLock),
    /// The directory was removed or replaced in the meantime.
    Again,
    /// Something else has the name, or the file system has no locks.
    NotLocked(String),
}

impl<'a> Private<'a> {
    pub(super) fn enter(place: &'a Place) -> Result<Private<'a>, Refusal> {
        let name = affix(&place.name, ".prefork");
        let start = Instant::now();
        for _ in 0..MOST_TRIES {
            match Private::try_to_enter(place, &name, start)? {
                Tried::Entered(directory, lock) => return Ok(Private::new(place, name, directory, Ok(lock))),
                Tried::Again => {}
                Tried::NotLocked(why) => return Private::elsewhere(place, why),
            }
        }
        Private::elsewhere(place, format!("another process exchanges {}", place.directory.path().join(&name).display()))
    }

    /// Why there is no lock, where there is none.
    pub(super) fn why_unlocked(&self) -> Option<&str> {
        self.lock.as_ref().err().map(String::as_str)
    }

    fn new(place: &'a Place, name: OsString, directory: Directory, lock: Result<FileLock, String>) -> Private<'a> {
        Private { place, name, directory, socket: place.name_of_socket(), lock }
    }

    fn try_to_enter(place: &Place, name: &OsStr, start: Instant) -> Result<Tried, Refusal> {
        let foreign = format!("{} is not a directory of this user alone", place.directory.path().join(name).display());
        let is_new = match place.directory.make_private(name) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(advise(WRITABLE)(error)),
        };
        let directory = match place.directory.open_private(name) {
            Ok(Some(directory)) => directory,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Tried::Again),
            Ok(None) | Err(_) if !is_new => return Ok(Tried::NotLocked(foreign)),
            result => {
                // This directory is of no use, unless another user has just replaced it.
                let _ = place.directory.remove_directory(name);
                return result.map(|_| Tried::NotLocked(foreign)).map_err(advise(PRIVATE));
            }
        };
        let lock = match lock(&directory, start)? {
            Ok(lock) => lock,
            // Another start may be in the directory, which stays then.
            Err(error) => {
                let _ = place.directory.remove_directory(name);
                return Ok(Tried::NotLocked(format!("{} cannot be locked: {error}", directory.path().display())));
            }
        };
        let is_there =
            |id: FileId| place.directory.entry(name).is_ok_and(|found| found.is_some_and(|at| at.id() == id));
        if !directory.id().is_ok_and(is_there) {
            return Ok(Tried::Again);
        }
        let is_empty = is_new || clear(&directory, place);
        Ok(if is_empty { Tried::Entered(directory, lock) } else { Tried::NotLocked(foreign) })
    }

    /// Under a random name, and so without a lock.
    fn elsewhere(place: &'a Place, why_unlocked: String) -> Result<Private<'a>, Refusal> {
        for _ in 0..MOST_TRIES {
            let number = sys::entropy().map_err(advise("the system gives no random numbers"))?;
            let name = affix(&place.name, &format!(".prefork-{number:016x}"));
            place.directory.make_private(&name).map_err(advise(WRITABLE))?;
            match place.directory.open_private(&name) {
                Ok(Some(directory)) => return Ok(Private::new(place, name, directory, Err(why_unlocked))),
                Ok(None) | Err(_) => {
                    let _ = place.directory.remove_directory(&name);
                }
            }
        }
        let source =
            io::Error::new(ErrorKind::PermissionDenied, "a directory that was made there is not this user's alone");
        Err(advise(PRIVATE)(source))
    }

    /// Makes a socket that listens, with the rights of its file. No client can connect before it is moved to its place.
    pub(super) fn listen(&self, rights: &Rights) -> Result<(Socket, FileId), Refusal> {
        let Private { directory, socket: name, .. } = self;
        let socket =
            Socket::new(Domain::UNIX, Type::STREAM, None).map_err(advise("no Unix socket can be made here"))?;
        let bind = |path: &Path| socket.bind(&SockAddr::unix(path)?);
        directory.with_address(name, &bind).map_err(advise(WRITABLE))?;
        let file = directory.entry(name).and_then(|file| file.ok_or_else(|| ErrorKind::NotFound.into()));
        let file = file.map_err(advise(WRITABLE))?;
        let set_owner = |owner, group| directory.set_owner(name, owner, group);
        rights.set(&set_owner, &|mode| directory.set_mode(name, mode))?;
        socket.listen(BACKLOG).map_err(advise(WRITABLE))?;
        Ok((socket, file.id()))
    }

    /// Removes the file of a dead server from the place. Any other file that is there by now stays, or is put back.
    pub(super) fn remove_stale(&self, stale: FileId) -> Result<(), Refusal> {
        let (old, place) = (OsStr::new(OLD), self.place);
        match place.directory.rename(&place.name, &self.directory, old) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            moved => moved.map_err(advise(WRITABLE))?,
        }
        if self.directory.entry(old).is_ok_and(|found| found.is_some_and(|found| found.id() == stale)) {
            return self.directory.remove(old).map_err(advise(WRITABLE));
        }
        if let Err(error) = self.directory.rename_to_free(old, &place.directory, &place.name) {
            logging::warn(&format!(
                "{} was at unix:{} for a moment and cannot be put back: {error}; other processes exchange files there",
                self.directory.path().join(old).display(),
                place.directory.path().join(&place.name).display()
            ));
        }
        Err(in_use())
    }

    /// Moves the socket to its place, if it is free.
    pub(super) fn put_in_place(&self) -> Result<(), Refusal> {
        match self.directory.rename_to_free(&self.socket, &self.place.directory, &self.place.name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(in_use()),
            moved => moved.map_err(advise(WRITABLE)),
        }
    }
}

const PRIVATE: &str = "another process exchanges names there, the file system does not keep the owner and mode of a \
                       directory, or the umask takes the owner's rights: choose another directory or umask";

impl Drop for Private<'_> {
    fn drop(&mut self) {
        let Private { place, name, directory, socket, .. } = self;
        let is_gone = |error: &io::Error| error.kind() == ErrorKind::NotFound;
        let left = directory.remove(socket).err().filter(|error| !is_gone(error));
        let left = left.or_else(|| place.directory.remove_directory(name).err());
        // Another user may have replaced it, or it contains a file that could not be put back.
        let is_by_others = |error: &io::Error| {
            is_gone(error) || matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ENOTEMPTY | libc::EEXIST))
        };
        if let Some(error) = left.filter(|error| !is_by_others(error)) {
            let path = place.directory.path().join(name);
            logging::warn(&format!("{} is left behind: {error}; it can be removed", path.display()));
        }
    }
}

/// flock(2); the inner error where the file system has no locks.
fn lock(directory: &Directory, start: Instant) -> Result<io::Result<FileLock>, Refusal> {
    let advice =
        "another start or stop of this user is at work there, and has been for 2 s: see /proc/locks for its lock";
    let mut opened = directory.file().map_err(advise(advice))?;
    loop {
        match FileLock::try_lock(opened) {
            Ok(lock) => return Ok(Ok(lock)),
            Err((again, error)) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < LOCK_PATIENCE => {
                opened = again;
                sleep(BETWEEN_LOCKS);
            }
            Err((_, error)) if error.kind() == ErrorKind::WouldBlock => return Err(advise(advice)(error)),
            Err((_, error)) => return Ok(Err(error)),
        }
    }
}

/// Removes the files of a process that was killed: this one holds the lock. Says whether the directory is empty then.
fn clear(directory: &Directory, place: &Place) -> bool {
    [place.name_of_socket(), OLD.into()].iter().all(|name| match directory.entry(name) {
        Ok(None) => true,
        Ok(Some(left)) => left.is_socket() && directory.remove(name).is_ok(),
        Err(_) => false,
    })
}

/// Hidden, and next to the socket in an alphabetical list of hidden files.
fn affix(name: &OsStr, end: &str) -> OsString {
    let mut affixed = OsString::from(".");
    affixed.push(name);
    affixed.push(end);
    affixed
}
