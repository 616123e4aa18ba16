//! One listener of the supervisor: the sockets at one address, where they come from, and what they need to be stored,
//! handed off or bound anew.
//!
//! It must not know what the other listeners are.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use socket2::SockRef;

use super::as_bound::AsBound;
use super::held::{self, Closed};
use super::label::{Label, Labelled};
use super::slots::{Slots, Sockets};
use super::store_name::{self, Storable};
use super::unix;
use crate::grammar::UnixPath;
use crate::sys::FileId;

/// What is listened on at one address.
pub(crate) struct Listener {
    pub(crate) label: Label,
    /// The entry as it is written in `listen`: `admin=127.0.0.1:0`. A host name is replaced by one of its addresses.
    pub(crate) key: String,
    pub(super) sockets: Sockets,
    pub(super) nonblocking: bool,
    /// The entry for which the previous binary, or the last start, bound it.
    was: Option<String>,
    /// The mode in which the previous binary left it, as the workers of that binary share the mode.
    was_nonblocking: Option<bool>,
    /// The rights that the file of a Unix socket gets once this binary stays, where the previous binary or the last
    /// start made the file.
    rights: Option<UnixPath>,
    /// `None` where this process was started with the socket.
    pub(super) storable: Option<Storable>,
    /// Its name in a service manager's descriptor store, if it is there.
    pub(super) stored: Option<String>,
    /// The name and number under which this process was started with it, if it was.
    inherited: Option<(String, usize)>,
    /// The previous binary, or the last start, bound it.
    is_bound_before: bool,
    /// The path of a Unix socket that prefork has bound.
    pub(super) unix: Option<UnixPath>,
    /// What a repair restores after a worker has spoiled it. Known once the socket has been inspected.
    pub(super) as_bound: Option<AsBound>,
    /// A line has reported that no client is served there any more.
    pub(super) is_lost: bool,
}

/// A socket that the next binary is handed, or the previous one on the way back.
#[derive(Clone)]
pub(crate) struct HandoffSocket<'a> {
    pub(crate) entry: &'a str,
    /// The slot that it belongs to, where each slot has a socket of its own.
    pub(crate) slot: Option<usize>,
    /// Its name in a service manager's descriptor store, if it is there.
    pub(crate) stored: Option<&'a str>,
    pub(crate) inherited: Option<&'a (String, usize)>,
    /// The mode of the socket. On the way back, the mode that the previous binary's workers expect.
    pub(crate) nonblocking: bool,
    pub(crate) socket: BorrowedFd<'a>,
}

impl Listener {
    pub(super) fn new(label: Label, key: String, sockets: Sockets) -> Listener {
        Listener {
            label,
            key,
            sockets,
            nonblocking: false,
            was: None,
            was_nonblocking: None,
            rights: None,
            storable: None,
            stored: None,
            inherited: None,
            is_bound_before: false,
            unix: None,
            as_bound: None,
            is_lost: false,
        }
    }

    /// A listener whose entry is this label and place.
    pub(super) fn at(label: &Label, place: &dyn fmt::Display, sockets: Sockets) -> Listener {
        Listener::new(label.clone(), Labelled(label, place).to_string(), sockets)
    }

    /// Notes the mode that the socket has now, if workers of the previous binary share it.
    pub(super) fn in_use(self, is_in_use: bool) -> Listener {
        let socket = self.any_socket();
        Listener { was_nonblocking: socket.filter(|_| is_in_use).map(is_nonblocking), ..self }
    }

    pub(super) fn bound_before_as(self, entry: String, stored: Option<String>) -> Listener {
        Listener { was: Some(entry), stored, is_bound_before: true, ..self }
    }

    pub(super) fn storable(self, storable: Option<Storable>) -> Listener {
        Listener { storable, ..self }
    }

    pub(super) fn rights(self, unix: UnixPath) -> Listener {
        Listener { rights: Some(unix), ..self }
    }

    pub(super) fn unix(self, unix: UnixPath) -> Listener {
        Listener { unix: Some(unix), ..self }
    }

    pub(super) fn inherited(self, name: String, number: usize) -> Listener {
        Listener { inherited: Some((name, number)), ..self }
    }

    pub(super) fn any_socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.sockets {
            Sockets::One(socket) => Some(socket.as_fd()),
            Sockets::PerSlot(slots) => slots.any(),
            Sockets::Taken => None,
        }
    }

    /// Whether this process was started with it.
    pub(super) fn is_inherited(&self) -> bool {
        self.inherited.is_some()
    }

    /// Whether this supervisor bound it as another binary, or at another start.
    pub(super) fn is_bound_before(&self) -> bool {
        self.is_bound_before
    }

    pub(super) fn is_nonblocking(&self) -> bool {
        self.nonblocking || self.any_socket().is_some_and(is_nonblocking)
    }

    /// Whether workers of the previous binary have it in blocking mode.
    pub(super) fn was_blocking(&self) -> bool {
        self.was_nonblocking == Some(false)
    }

    /// Forgets the stored socket, as another has taken its place. Returns the name of the old one in the store.
    pub(super) fn forget_stored(&mut self) -> Option<String> {
        self.storable = self.storable.take().and_then(Storable::again);
        self.stored.take()
    }

    /// Forgets how the previous binary had it, which cannot come back any more.
    pub(super) fn forget_before(&mut self) {
        (self.was, self.was_nonblocking) = (None, None);
        self.set_rights();
    }

    /// The file of a Unix socket that prefork has bound.
    pub(super) fn own_file(&self, unix: &UnixPath) -> Option<FileId> {
        unix::own_file(Path::new(&unix.path)).or_else(|| store_name::file_id(self.stored.as_deref()?))
    }

    /// Gives the file of a Unix socket the rights that the options ask for.
    fn set_rights(&mut self) {
        let Some(unix) = self.rights.take() else { return };
        unix::set_rights(&unix, self.stored.as_deref().and_then(store_name::file_id));
    }

    /// The sockets, those of slots in the kernel's order. `back`: for the previous binary.
    pub(super) fn handoffs(&self, back: bool) -> Vec<HandoffSocket<'_>> {
        let entry = self.was.as_ref().filter(|_| back).unwrap_or(&self.key);
        let stored = self.stored.as_deref();
        let mode = |socket| self.was_nonblocking.filter(|_| back).unwrap_or_else(|| is_nonblocking(socket));
        let inherited = self.inherited.as_ref();
        let one = |slot, socket| HandoffSocket { entry, slot, stored, inherited, nonblocking: mode(socket), socket };
        match &self.sockets {
            Sockets::One(socket) => vec![one(None, socket.as_fd())],
            Sockets::PerSlot(slots) => {
                let mut each = Vec::new();
                for (task_id, socket) in slots.members() {
                    each.push(one(Some(task_id), socket));
                }
                each
            }
            Sockets::Taken => Vec::new(),
        }
    }

    /// The sockets that the next start must bind again, because neither a service manager nor its store keeps them
    /// open.
    pub(super) fn bound_here(&self) -> Vec<Closed> {
        let mut closed = Vec::new();
        let kept_by_others = self.inherited.is_some() || self.stored.is_some();
        if kept_by_others {
            return closed;
        }
        for HandoffSocket { socket, .. } in self.handoffs(false) {
            let address = SockRef::from(&socket).local_addr().ok().and_then(|address| address.as_socket());
            let place = address.map_or_else(|| self.key.clone(), |address| Labelled(&self.label, &address).to_string());
            if let Some(one) = held::closing(place, self.label.kind, socket) {
                closed.push(one);
            }
        }
        closed
    }

    /// In a worker: the socket, for the body.
    pub(super) fn take(&mut self) -> Option<OwnedFd> {
        match mem::replace(&mut self.sockets, Sockets::Taken) {
            Sockets::One(socket) => Some(socket),
            Sockets::PerSlot(_) | Sockets::Taken => None,
        }
    }

    /// Its name in a service manager's store, if that differs from the name that it should have.
    pub(super) fn outdated_name(&self) -> Option<&str> {
        let wanted = self.storable.as_ref().map(|storable| storable.name.as_str());
        self.stored.as_deref().filter(|&stored| wanted.is_some_and(|wanted| wanted != stored))
    }

    pub(super) fn slots(&mut self) -> Option<&mut Slots> {
        match &mut self.sockets {
            Sockets::PerSlot(slots) => Some(slots),
            Sockets::One(_) | Sockets::Taken => None,
        }
    }

    pub(super) fn set_nonblocking(&mut self) -> io::Result<()> {
        self.nonblocking = true;
        let set = |socket: BorrowedFd<'_>| SockRef::from(&socket).set_nonblocking(true);
        match &self.sockets {
            Sockets::One(socket) => set(socket.as_fd()),
            Sockets::PerSlot(slots) => {
                for (_, socket) in slots.members() {
                    set(socket)?;
                }
                Ok(())
            }
            Sockets::Taken => Ok(()),
        }
    }
}

/// Blocking, where the system does not tell.
pub(super) fn is_nonblocking(socket: BorrowedFd<'_>) -> bool {
    SockRef::from(&socket).nonblocking().unwrap_or(false)
}
