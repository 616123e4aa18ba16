//! A service manager: a datagram socket on which a program says how it is.

use std::io::{ErrorKind, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::{DEADLINE, own_path};

pub struct Manager {
    pub socket: UnixDatagram,
    name: String,
    path: Option<PathBuf>,
}

impl Manager {
    pub fn with_a_path() -> Manager {
        let path = own_path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Manager { socket, name: path.to_str().expect("text").to_owned(), path: Some(path) }
    }

    /// At a path where only root can make a socket, which every user can write to: as systemd's.
    pub fn of_root() -> std::io::Result<Manager> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("prefork-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from("/run").join(name);
        let socket = UnixDatagram::bind(&path)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        Ok(Manager { socket, name: path.to_str().expect("text").to_owned(), path: Some(path) })
    }

    pub fn with_an_abstract_name() -> Manager {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("prefork-notify-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        Manager { socket: UnixDatagram::bind_addr(&address).expect("a socket"), name: format!("@{name}"), path: None }
    }

    /// Has the program report to it.
    pub fn watches<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", &self.name)
    }

    /// Has no room for another message.
    pub fn fill(&self) {
        let filler = UnixDatagram::unbound().expect("a socket");
        filler.set_nonblocking(true).expect("a socket");
        let address = self.socket.local_addr().expect("an address");
        while filler.send_to_addr(b"STATUS=full", &address).is_ok() {}
    }

    /// The next message that is there, or comes within this time.
    pub fn receive_within(&self, time: Duration) -> Option<String> {
        let mut message = vec![0; 1 << 16];
        self.socket.set_read_timeout(Some(time.max(Duration::from_millis(1)))).expect("a timeout");
        let length = loop {
            match self.socket.recv(&mut message) {
                // A test that was stopped goes on.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result.ok()?,
            }
        };
        message.truncate(length);
        Some(String::from_utf8(message).expect("text"))
    }

    /// The next message, and the descriptors that came with it, which no program inherits.
    pub fn receive_with_descriptors(&self) -> (String, Vec<OwnedFd>) {
        let (mut message, mut control) = (vec![0; 1 << 16], nix::cmsg_space!([RawFd; 16]));
        self.socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let mut into = [IoSliceMut::new(&mut message)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(self.socket.as_raw_fd(), &mut into, Some(&mut control), flags).expect("a message");
        let rights = received.cmsgs().expect("all of it").filter_map(|control| match control {
            ControlMessageOwned::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        // SAFETY: recvmsg(2) has just made these descriptors, and no other owner has their numbers.
        let descriptors = rights.flatten().map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect();
        let length = received.bytes;
        message.truncate(length);
        (String::from_utf8(message).expect("text"), descriptors)
    }

    /// All messages up to the first that contains this.
    pub fn receive_until(&self, part: &str) -> Vec<String> {
        let (start, mut messages) = (Instant::now(), Vec::new());
        loop {
            let left = DEADLINE.saturating_sub(start.elapsed());
            let message = self.receive_within(left);
            messages.push(message.unwrap_or_else(|| panic!("no {part:?} in {messages:#?}")));
            if messages.last().is_some_and(|message| message.contains(part)) {
                return messages;
            }
        }
    }

    /// The first message that contains this.
    pub fn wait_for(&self, part: &str) -> String {
        self.receive_until(part).pop().expect("the last")
    }

    /// All that is there.
    pub fn receive_all(&self) -> Vec<String> {
        std::iter::from_fn(|| self.receive_within(Duration::ZERO)).collect()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}
