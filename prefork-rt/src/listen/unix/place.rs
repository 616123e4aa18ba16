//! The place of a socket's file: its directory, opened once, the name in it, and what is there.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::advice::{advise, in_use, no_socket};
use crate::listen::attempt::Refusal;
use crate::sys::{Directory, Entry, FileId, ForeignLink};

/// A name of this length fits into the address of a socket, with `/proc/self/fd/1234567/` before it.
const LONGEST_NAME: usize = 80;

pub(super) struct Place {
    pub(super) directory: Directory,
    pub(super) name: OsString,
}

/// What there is at the path of a socket.
enum Found {
    Nothing,
    /// A socket on which no process listens.
    Stale(Entry),
    /// A socket on which a process listens.
    Socket,
    Other,
}

impl Place {
    pub(super) fn open(path: &Path) -> Result<Place, Refusal> {
        let directory = Directory::open(path.parent().unwrap_or(Path::new("/"))).map_err(|error| {
            let is_foreign = error.get_ref().is_some_and(|error| error.is::<ForeignLink>());
            advise(if is_foreign {
                "write the path of the directory itself, or let root make the link"
            } else {
                "its directory must be there, and this user must be able to look into it"
            })(error)
        })?;
        Ok(Place { directory, name: path.file_name().unwrap_or_default().to_owned() })
    }

    /// The file that has the name now.
    pub(super) fn entry(&self) -> Result<Option<Entry>, Refusal> {
        self.directory.entry(&self.name).map_err(advise("this user must be able to look into the directory"))
    }

    fn look(&self) -> Result<Found, Refusal> {
        match self.entry()? {
            None => Ok(Found::Nothing),
            Some(entry) if !entry.is_socket() => Ok(Found::Other),
            Some(entry) => Ok(if self.is_alive(&entry)? { Found::Socket } else { Found::Stale(entry) }),
        }
    }

    /// The file of a dead server, or the file `replaced`, or nothing. An error for any other file that is there.
    pub(super) fn refuse_what_is_there_but(&self, replaced: Option<FileId>) -> Result<Option<Entry>, Refusal> {
        if let Some(replaced) = replaced {
            if let Some(entry) = self.entry()?.filter(|entry| entry.is_socket() && entry.id() == replaced) {
                return Ok(Some(entry));
            }
        }
        match self.look()? {
            Found::Nothing => Ok(None),
            Found::Stale(entry) => Ok(Some(entry)),
            Found::Socket => Err(in_use()),
            Found::Other => Err(no_socket()),
        }
    }

    /// Whether this file is there and no process listens on it.
    pub(super) fn has_stale(&self, file: FileId) -> Result<bool, Refusal> {
        Ok(matches!(self.look()?, Found::Stale(entry) if entry.id() == file))
    }

    /// Whether a process holds this socket. Probes it with connect(2) from a socket of another type. The error tells
    /// whether a process holds it, and that process does not notice the probe.
    fn is_alive(&self, entry: &Entry) -> Result<bool, Refusal> {
        // A probe that cannot be made says nothing about the socket.
        let probe = || {
            let probe = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
            probe.set_nonblocking(true)?;
            Ok(probe)
        };
        let unknown = "whether another process listens there cannot be found out";
        let probe = probe().map_err(advise(unknown))?;
        let connect = |path: &Path| probe.connect(&SockAddr::unix(path)?);
        let connected = match entry.address() {
            Some(path) => connect(&path),
            None => self.directory.with_address(&self.name, &connect),
        };
        match connected {
            // It is a datagram socket. EPROTOTYPE: it is one of another type.
            Ok(()) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPROTOTYPE | libc::EAGAIN)) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(false),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(advise("it belongs to another user: whether a process listens there cannot be found out")(error))
            }
            Err(error) => Err(advise(unknown)(error)),
        }
    }

    /// The name of the socket in the private directory. `ss` and `local_addr()` show it, so it contains the whole path,
    /// as systemd writes paths in names: `run-app-app.sock`. A long one is cut at its beginning.
    pub(super) fn name_of_socket(&self) -> OsString {
        let path = self.directory.path().join(&self.name);
        let path = path.as_os_str().as_bytes();
        let start = path.len().saturating_sub(LONGEST_NAME).max(1);
        let mut name = path[start..].to_vec();
        for byte in &mut name {
            if *byte == b'/' {
                *byte = b'-';
            }
        }
        OsString::from_vec(name)
    }
}

/// The addresses under which the system may list a socket in this place: the one of another server, and the one of a
/// pool.
pub(super) fn names_of_sockets(path: &Path) -> Vec<PathBuf> {
    let mut names = vec![path.to_owned()];
    names.extend(Place::open(path).map(|place| Path::new("/proc/self/fd").join(place.name_of_socket())));
    names
}

/// The identity of the file at this path, if it is a socket. No other file has it as long as the socket lives.
pub(in super::super) fn socket_at(path: &Path) -> Option<FileId> {
    let found = Place::open(path).ok()?.entry().ok()??;
    found.is_socket().then(|| found.id())
}
