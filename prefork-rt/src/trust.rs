//! Which environment variables a program trusts: those that name this process, and, where the program has more rights
//! than its caller (file capabilities, set-user-ID), those that give the caller nothing.
//!
//! Such a program gets its environment from a caller who may be an attacker and want these rights. So the question for each
//! variable is what it lets the caller do that the caller could not do anyway. A service manager looks like any other
//! caller: an attacker can set every variable, copy LISTEN_PID, and have PID 1 for a parent.
//!
//! * `PREFORK…` says what is listened on, which user workers are and which processes are its workers: never trusted.
//! * `LISTEN_FDS` says which of the caller's own sockets are served. With file capabilities the program is the caller's
//!   own user, who could connect to what the program binds anyway: trusted, when it names this process. A
//!   set-user-ID program may bind where its caller must not connect: not trusted.
//! * `NOTIFY_SOCKET` says where datagrams go, with copies of listeners among them. It is trusted where it is a socket that
//!   only root can have put there, and that the caller could write to without this program; and then `WATCHDOG_USEC`,
//!   which says how often. `FDSTORE` has listeners sent there, which come back as `LISTEN_FDS`: trusted with both.
//!
//! It must not know what the variables do.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::sys::{self, Rights};

/// Whether this program trusts the variables that change what it does.
pub(crate) fn in_options() -> bool {
    sys::rights() == Rights::Callers
}

/// Whether this program trusts the sockets that its caller left open.
pub(crate) fn in_sockets() -> bool {
    sys::rights() != Rights::Anothers
}

/// Whether this program trusts the service manager that reads from this socket.
pub(crate) fn in_manager(socket: &OsStr) -> bool {
    match sys::rights() {
        Rights::Callers => true,
        Rights::More | Rights::Anothers => is_roots(Path::new(socket)) && sys::caller_can_write(Path::new(socket)),
    }
}

/// Why a variable with this value is not meant for this process, where it has the id of another. Empty and absent ones name
/// none.
pub(crate) fn names_another(variable: &str, value: Option<&OsStr>) -> Option<String> {
    let (named, own) = (value?, sys::getpid());
    (!named.is_empty() && *named != *own.to_string()).then(|| {
        format!(
            "{variable}={} names another process, and this is pid {own}: start this program with `exec` where a shell \
             stands before it (ExecStart=/bin/sh -c 'exec app')",
            named.to_string_lossy()
        )
    })
}

/// Whether root alone can have made the socket's file and every directory on the way to it.
fn is_roots(socket: &Path) -> bool {
    let Ok(place) = socket.canonicalize() else { return false };
    let is_socket = fs::symlink_metadata(&place).is_ok_and(|file| file.file_type().is_socket() && file.uid() == 0);
    let is_below_roots = |path: &Path| path.ancestors().skip(1).all(only_root_writes);
    is_socket && is_below_roots(&place) && is_below_roots(socket)
}

fn only_root_writes(directory: &Path) -> bool {
    let is_closed = |directory: Metadata| directory.uid() == 0 && directory.mode() & 0o022 == 0;
    fs::metadata(directory).is_ok_and(is_closed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_socket_that_others_can_have_made_is_not_roots() {
        let directory = std::env::temp_dir().join(format!("prefork-trust-{}", std::process::id()));
        fs::create_dir(&directory).expect("a directory");
        let path = directory.join("notify");
        let _socket = UnixDatagram::bind(&path).expect("a socket");
        // All users can write to the directory for temporary files.
        assert!(!is_roots(&path));
        assert!(!is_roots(&directory.join("nothing")));
        fs::remove_dir_all(&directory).expect("removed");
        for path in ["/", "/etc/passwd", "notify", "@notify", ""] {
            assert!(!is_roots(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_program_with_its_caller_s_rights_trusts_all() {
        assert!(in_options() && in_sockets() && in_manager(OsStr::new("@anything")));
    }
}
