//! Which variables a program believes: those that name it, and, where it has more rights than its caller (file
//! capabilities, set-user-ID), those that give the caller nothing.
//!
//! There the environment is the caller's, who may be an attacker that wants the rights. Of each variable it is asked what the
//! caller could do with it that the caller cannot do without it. A service manager cannot be told from another caller: an
//! attacker can set every variable, copy LISTEN_PID, and have PID 1 for a parent.
//!
//! * `PREFORK…` says what is listened on, who workers are and which processes are its workers: never believed.
//! * `LISTEN_FDS` says which of the caller's own sockets are served. With file capabilities the program is the caller's
//!   own user, so that user could connect to whatever the program binds, too: believed, when it names this process. A
//!   set-user-ID program may bind where its caller must not connect: not believed.
//! * `NOTIFY_SOCKET` says where datagrams go, with copies of listeners among them. It is believed where it is a socket that
//!   only root can have put there, and that the caller could write to without this program; and then `WATCHDOG_USEC`,
//!   which says how often. `FDSTORE` has listeners sent there, which come back as `LISTEN_FDS`: believed with both.
//!
//! It must not know what the variables do.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::sys::{self, Rights};

/// Whether the variables are believed that change what this program does.
pub(crate) fn in_options() -> bool {
    sys::rights() == Rights::Callers
}

/// Whether sockets are believed that the caller has left.
pub(crate) fn in_sockets() -> bool {
    sys::rights() != Rights::Anothers
}

/// Whether a service manager is believed in that reads from this socket.
pub(crate) fn in_manager(socket: &OsStr) -> bool {
    match sys::rights() {
        Rights::Callers => true,
        Rights::More | Rights::Anothers => is_roots(Path::new(socket)) && sys::caller_can_write(Path::new(socket)),
    }
}

/// Why a variable is not meant for this process, where it has the id of another. Empty and absent ones name none.
pub(crate) fn names_another(variable: &str) -> Option<String> {
    let (named, own) = (env::var_os(variable)?, sys::getpid());
    (!named.is_empty() && named != *own.to_string()).then(|| {
        format!(
            "{variable}={} names another process, and this is pid {own}: start this program with `exec` where a shell \
             stands before it (ExecStart=/bin/sh -c 'exec app')",
            named.to_string_lossy()
        )
    })
}

/// Whether a socket's file is one that root alone can have made, or led to.
fn is_roots(socket: &Path) -> bool {
    let Ok(place) = socket.canonicalize() else { return false };
    let is_socket = fs::symlink_metadata(&place).is_ok_and(|file| file.file_type().is_socket() && file.uid() == 0);
    is_socket && [&place, socket].into_iter().all(|path| path.ancestors().skip(1).all(only_root_writes))
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
        let directory = env::temp_dir().join(format!("prefork-trust-{}", std::process::id()));
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
    fn a_program_with_its_caller_s_rights_believes_all() {
        assert!(in_options() && in_sockets() && in_manager(OsStr::new("@anything")));
    }
}
