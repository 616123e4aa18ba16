//! Which connections may be open at a fork, although every worker then has them: those that this process was started
//! with, those that the program shares on purpose, and those of the C library's name services and loggers.
//!
//! It must not know when forks happen.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::sys::{self, Connection, Peer, SocketId};

/// Lets all workers have this connection, which is otherwise refused: call it before the start.
///
/// A worker is a copy of the first process, so a connection that was opened there (in `preload`, say) is the same
/// connection in all workers. Where they talk on it, requests mix, and answers reach the wrong worker. So nothing is
/// forked while a connected stream socket is open that was opened here: open it in `main`'s body, or in an
/// [`after_fork`](crate::after_fork) hook.
///
/// This is for the exceptions: a connection on which workers only write whole records, as a logger's, and one that the
/// first process alone uses. Later connections to the same peer pass too, as a logger may connect again. What is no
/// connected stream socket is never refused, and sharing it does nothing.
///
/// ```
/// use std::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let server = TcpListener::bind("127.0.0.1:0")?;
/// # let log_server = server.local_addr()?;
/// let log = TcpStream::connect(log_server)?;
/// prefork_rt::share_connection(&log);
/// # Ok(())
/// # }
/// ```
pub fn share_connection(socket: &impl AsFd) {
    // A descriptor that is borrowed is open, so this is no error.
    if let Ok(Some(shared)) = sys::connection(socket.as_fd()) {
        SHARED.lock().unwrap_or_else(PoisonError::into_inner).push(shared);
    }
}

static SHARED: Mutex<Vec<(SocketId, Peer)>> = Mutex::new(Vec::new());

/// The sockets that the first process was started with, found out once.
static INHERITED: OnceLock<Vec<SocketId>> = OnceLock::new();

/// Notes the sockets that this process was started with. Call it as early as the program allows.
pub(crate) fn note_inherited() {
    INHERITED.get_or_init(sys::inherited_sockets);
}

/// Whether workers may have this connection.
pub(crate) fn may_be_shared(connection: &Connection) -> bool {
    INHERITED.get().is_some_and(|inherited| inherited.contains(&connection.socket))
        || is_of_the_system(&connection.peer)
        || is_shared(connection)
}

fn is_shared(connection: &Connection) -> bool {
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.iter().any(|(socket, peer)| *socket == connection.socket || *peer == connection.peer)
}

/// Sockets to which the C library, its modules and loggers stay connected. Several processes may use such a connection, or
/// the library connects again after a fork. D-Bus is not among them: two processes on one bus connection lose messages.
const OF_THE_SYSTEM: [&str; 12] = [
    // Loggers: syslog(3), systemd-cat(1), and what systemd makes standard error of.
    "/dev/log",
    "/run/log",
    "/run/syslog",
    "/run/systemd/journal",
    // Name services: nscd, sssd, systemd-userdbd, systemd-resolved, systemd-machined, nslcd, winbindd, Avahi.
    "/run/nscd",
    "/var/lib/sss/pipes",
    "/run/systemd/userdb",
    "/run/systemd/resolve",
    "/run/systemd/machine",
    "/run/nslcd",
    "/run/samba/winbindd",
    "/run/avahi-daemon",
];

fn is_of_the_system(peer: &Peer) -> bool {
    let Peer::File(path) = peer else { return false };
    // /var/run is a link to /run on current systems.
    let path = path.strip_prefix("/var/run").map_or_else(|_| path.clone(), |rest| Path::new("/run").join(rest));
    // With `LogNamespace=`, journald has a directory for each namespace.
    let is_of_a_journal = path.to_str().is_some_and(|path| path.starts_with("/run/systemd/journal."));
    is_of_a_journal || OF_THE_SYSTEM.iter().any(|known| path.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_services_and_loggers_pass_and_databases_do_not() {
        for path in [
            "/dev/log",
            "/run/systemd/journal/dev-log",
            "/run/systemd/journal/stdout",
            "/run/systemd/journal.tenant/stdout",
            "/var/run/nscd/socket",
            "/run/nscd/socket",
            "/var/lib/sss/pipes/nss",
            "/var/lib/sss/pipes/private/pam",
            "/run/systemd/userdb/io.systemd.NameServiceSwitch",
            "/run/systemd/resolve/io.systemd.Resolve",
            "/var/run/nslcd/socket",
        ] {
            assert!(is_of_the_system(&Peer::File(path.into())), "{path}");
        }
        for path in
            ["/run/postgresql/.s.PGSQL.5432", "/run/dbus/system_bus_socket", "/run/systemd/private", "/dev/logs"]
        {
            assert!(!is_of_the_system(&Peer::File(path.into())), "{path}");
        }
        assert!(!is_of_the_system(&Peer::Abstract(b"/dev/log".to_vec())));
    }
}
