//! Unix sockets: how the file of a socket is made, and who owns it.
//!
//! The directory of a socket's file often belongs to the workers' user, who may replace any name in it at any moment,
//! also by a link to a file of root's. So the supervisor does nothing with root's rights to a name that this user can
//! replace:
//!
//! 1. The directory is opened once, and all names are relative to its descriptor ([`place`]).
//! 2. The supervisor makes a private directory in it, which no other user can enter ([`private`]). In there the socket is
//!    bound, gets its owner and mode, and listens. No other user can replace a name in there, or connect before the socket is
//!    ready, and the umask of the process stays as it is.
//! 3. The socket is moved to its place, if the place is free (renameat2(2) with RENAME_NOREPLACE). The file of a dead server
//!    is first moved into the private directory, checked again, and removed there.
//!
//! The private directory is also the lock of the path: flock(2) on it needs a descriptor, which no other user can get.
//! So if two servers start at once and find the file of a dead one, one of them sees the other. If another user has
//! made something else under the name of the private directory, or moves it away, the supervisor takes a random name,
//! says so, and goes on without the lock. Only one server can take a free place even then. But servers that replace the
//! file of a dead one at that moment can disturb each other: one may move the file of another for an instant, and puts
//! it back.
//!
//! When an upgrade changes owner and mode of a file that is in its place, it does so through a descriptor of that file,
//! after it has checked that the file is that of the socket that this process holds.

mod advice;
mod files;
mod place;
mod private;
mod rights;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use socket2::Socket;

use super::attempt::{Purpose, Refusal, announce, bound_or_noted, try_again};
use super::label::{Label, Labelled};
use crate::error::Error;
use crate::grammar::UnixPath;
use crate::logging;
use crate::sys::{self, Bound, FileId};

pub(crate) use files::{adopt_file, files};
pub(super) use files::{has_made_files, leave_file, own_file, remove_files};
use place::Place;
pub(super) use place::socket_at;
use private::Private;
use rights::Rights;

/// Binds the path. A rehearsal or a check leaves out the last step, which makes the file. For a check, `None` stands
/// for a path in use.
pub(super) fn bind(label: &Label, unix: &UnixPath, purpose: Purpose) -> Result<Option<OwnedFd>, Error> {
    let rights = Rights::of(unix)?;
    let path = Path::new(&unix.path);
    // The supervisor must not be ended in between: it removes the file at its end.
    sys::hold_stops();
    let now = || bind_now(path, &rights, purpose.leaves_no_trace(), None);
    let bound = try_again(&Labelled(label, &unix.path), purpose, &now);
    let socket = match bound {
        Ok((socket, warnings)) => {
            warn(unix, &warnings);
            Some(socket)
        }
        Err(error) => bound_or_noted(Err(error), purpose, Bound::Unix(&place::names_of_sockets(path)))?,
    };
    if socket.is_some() {
        announce(label, &unix.path);
    }
    Ok(socket.map(OwnedFd::from))
}

fn warn(unix: &UnixPath, warnings: &[String]) {
    for warning in warnings {
        logging::warn(&format!("unix:{}: {warning}", unix.path));
    }
}

/// Binds a path anew, in the place of this process's own file, whose socket is of no use any more.
pub(super) fn bind_anew(unix: &UnixPath, file: FileId) -> io::Result<OwnedFd> {
    let (path, own) = (Path::new(&unix.path), own_file(Path::new(&unix.path)));
    let rights = Rights::of(unix).map_err(io::Error::other)?;
    leave_file(path);
    match bind_now(path, &rights, false, Some(file)) {
        Ok((socket, warnings)) => {
            warn(unix, &warnings);
            Ok(socket.into())
        }
        Err(Refusal { source, advice }) => {
            if let Some(own) = own {
                adopt_file(path, own);
            }
            Err(io::Error::new(source.kind(), format!("{source}; {advice}")))
        }
    }
}

/// Checks that the owner and group of a file that is there already exist.
pub(super) fn check(unix: &UnixPath) -> Result<(), Error> {
    Rights::of(unix).map(drop)
}

/// Gives a file that this process made as another binary, or the file `stored` of a stored socket, the rights that the
/// options ask for, if it is still at the path. Its socket is open, so no other file can have its device and inode.
pub(super) fn set_rights(unix: &UnixPath, stored: Option<FileId>) {
    let path = Path::new(&unix.path);
    let own = [own_file(path), stored];
    let refused = |Refusal { source, advice }: Refusal| format!("{source}; {advice}");
    let entry = Place::open(path).and_then(|place| place.entry()).map_err(refused);
    let set = entry.and_then(|entry| {
        let is_own = |entry: &sys::Entry| entry.is_socket() && own.contains(&Some(entry.id()));
        let Some(entry) = entry.filter(is_own) else { return Ok(()) };
        let rights = Rights::of(unix).map_err(|error| error.to_string())?;
        let set_owner = |owner, group| entry.set_owner(owner, group);
        rights.set(&set_owner, &|mode| entry.set_mode(mode)).map_err(refused)
    });
    if let Err(why) = set {
        logging::warn(&format!("unix:{} keeps the mode, owner and group that it had: {why}", unix.path));
    }
}

/// Binds a path. Replaces the file of a dead server, or this file. Returns the socket, and warnings about its place.
fn bind_now(
    path: &Path,
    rights: &Rights,
    leaves_no_trace: bool,
    replaced: Option<FileId>,
) -> Result<(Socket, Vec<String>), Refusal> {
    let place = Place::open(path)?;
    // Says that the path is in use even where this user may not write to the directory.
    place.refuse_what_is_there_but(replaced)?;
    let private = Private::enter(&place)?;
    // Another server may have bound the path before this one had the lock.
    let stale = place.refuse_what_is_there_but(replaced)?;
    let (socket, file) = private.listen(rights)?;
    let mut warnings = Vec::new();
    if let Some(why) = private.why_unlocked() {
        warnings.push(format!("{why}; servers that start there at once may be in each other's way"));
    }
    if leaves_no_trace {
        return Ok((socket, warnings));
    }
    if let Some(stale) = stale {
        private.remove_stale(stale.id())?;
    }
    private.put_in_place()?;
    adopt_file(path, file);
    if place.entry()?.is_none_or(|entry| entry.id() != file) {
        let advice = "no client reaches this pool there; use a directory in which other users cannot write";
        warnings.push(format!("another process has replaced the file at once, so {advice}"));
    }
    Ok((socket, warnings))
}
