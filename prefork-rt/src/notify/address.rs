//! How a message gets to the service manager. It never waits for the service manager to read.
//!
//! It must not know why anything is sent. A socket is opened for each message, so that no worker inherits one. (The crate
//! sd-notify waits for a full socket and knows no abstract names.)

use std::error::Error as _;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use socket2::{Domain, SockAddr, Socket, Type};

use super::variables::{SOCKET, Variables};
use crate::error::Error;
use crate::logging;
use crate::sys::send_with_descriptor;
use crate::trust;

/// systemd reads no message of more than 4096 bytes.
const LONGEST_STATUS: usize = 2048;

/// The socket from which the service manager reads.
#[derive(Clone)]
pub(crate) struct Address(SockAddr);

impl Address {
    /// The address that the variables name, if this program may trust it.
    pub(crate) fn new(variables: &Variables) -> Option<Address> {
        let Some(name) = variables.socket() else {
            if let Some(unused) = variables.unused() {
                logging::warn(&format!("ignored without {SOCKET}, which says where a service manager reads: {unused}"));
            }
            return None;
        };
        if !trust::in_manager(name) {
            // Another line names all variables that are not trusted.
            return None;
        }
        match Address::parse(name) {
            Ok(address) => Some(address),
            Err(why) => {
                let mut others = variables.set();
                others.retain(|&other| other != SOCKET);
                let others =
                    if others.is_empty() { String::new() } else { format!(", and with it {}", others.join(", ")) };
                logging::warn(&format!(
                    "{SOCKET}={name:?} is ignored{others}: {why}; no service manager is told the state of this service"
                ));
                None
            }
        }
    }

    /// A path, or `@` and a name in the abstract namespace, which only Linux has.
    pub(super) fn parse(name: &OsStr) -> Result<Address, String> {
        let mut path = name.as_bytes().to_vec();
        match path.first_mut() {
            Some(b'/') => {}
            Some(first @ b'@') if cfg!(any(target_os = "linux", target_os = "android")) => *first = 0,
            _ => return Err("only a path and @NAME are understood".to_owned()),
        }
        SockAddr::unix(OsStr::from_bytes(&path)).map(Address).map_err(|error| error.to_string())
    }

    /// Says that the start has failed, and why.
    pub(crate) fn failed(&self, error: &Error) {
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let errno = source.and_then(io::Error::raw_os_error);
        let errno = errno.map_or_else(String::new, |errno| format!("ERRNO={errno}\n"));
        // A failure is ignored: the reason is on standard error already.
        let _ = self.send(&format!("{errno}STATUS={}", one_line(&error.to_string())));
    }

    /// Asks the service manager to remove the descriptors that are stored under this name.
    pub(crate) fn remove_stored(&self, name: &str) {
        // A failure is ignored: a descriptor that stays comes back at the next start, which removes it then.
        let _ = self.send(&removal(name));
    }

    pub(super) fn send(&self, message: &str) -> io::Result<()> {
        self.socket()?.send_to(message.as_bytes(), &self.0).map(drop)
    }

    /// Sends a copy of the descriptor along, if there is one: SCM_RIGHTS.
    pub(super) fn send_with(&self, message: &str, descriptor: Option<&OwnedFd>) -> io::Result<()> {
        let Some(descriptor) = descriptor else { return self.send(message) };
        let socket = self.socket()?;
        socket.connect(&self.0)?;
        send_with_descriptor(socket.as_fd(), message.as_bytes(), descriptor.as_fd())
    }

    fn socket(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// The beginning of the text that fits a message, with spaces for line breaks, which would begin another assignment.
pub(super) fn one_line(text: &str) -> String {
    let mut end = text.len().min(LONGEST_STATUS);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\n', " ")
}

/// A message that has what is stored under this name removed.
pub(super) fn removal(name: &str) -> String {
    format!("FDSTOREREMOVE=1\nFDNAME={name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_and_abstract_names() {
        let parse = |name: &str| Address::parse(OsStr::new(name));
        let path = parse("/run/systemd/notify").expect("a path");
        assert_eq!(path.0.as_pathname(), Some(std::path::Path::new("/run/systemd/notify")));
        #[cfg(target_os = "linux")]
        assert_eq!(parse("@name").expect("a name").0.as_abstract_namespace(), Some(&b"name"[..]));
        for name in ["vsock:2:1234", "run/notify", &format!("/{}", "x".repeat(200))] {
            assert!(parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_status_is_one_line_that_fits_a_message() {
        assert_eq!(one_line("a\nb"), "a b");
        assert_eq!(one_line(&"ä".repeat(5000)).len(), LONGEST_STATUS);
        assert_eq!(one_line(&format!("x{}", "ä".repeat(5000))).len(), LONGEST_STATUS - 1);
    }
}
