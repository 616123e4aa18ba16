//! What the supervisor holds: the sockets of every address, shared by all workers or one for each slot.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use socket2::SockRef;

use super::as_bound::AsBound;
use super::bound_before::BoundBefore;
use super::held::{self, Closed};
use super::inet;
use super::inherited;
use super::label::{Label, Labelled};
use super::slots::{Slots, Sockets};
use super::store_name::{self, Storable};
use super::unix;
use crate::error::Error;
use crate::grammar::{Kind, UnixPath};
use crate::policy::Intake;
use crate::report;
use crate::sys::{self, FileId};

/// Everything that is listened on, in the order of `listen`.
pub(crate) struct Listeners {
    pub(super) listeners: Vec<Listener>,
    /// How many places were in use, and are not listened on, as this is a check.
    pub(crate) in_use: usize,
    /// What the binary before has bound, and this one does not listen on.
    pub(super) left: Vec<BoundBefore>,
    /// Of the slots that do not take what is new.
    intakes: BTreeMap<usize, Intake>,
    /// The kernel does not know of the last changes.
    is_late: bool,
    /// The kernel refuses to steer.
    is_refused: bool,
    /// What this supervisor has bound and closed at its end.
    closed: Vec<Closed>,
}

/// What is listened on at one address.
pub(crate) struct Listener {
    pub(crate) label: Label,
    /// As it is written in `listen`, but for a host name, of which this is one address: `admin=127.0.0.1:0`.
    pub(crate) key: String,
    pub(super) sockets: Sockets,
    nonblocking: bool,
    /// For which entry the binary before, or the last start, has bound it.
    was: Option<String>,
    /// Whether it was in non-blocking mode when the binary before left it, whose workers have it, too.
    was_nonblocking: Option<bool>,
    /// What is to become of the file of a Unix socket that the binary before, or the last start, has made.
    rights: Option<UnixPath>,
    /// Where it is no socket that this process was started with.
    pub(super) storable: Option<Storable>,
    /// What it is called in a service manager's store, if it is there.
    pub(super) stored: Option<String>,
    /// Under which name and number this process was started with it, if it was.
    inherited: Option<(String, usize)>,
    /// The binary before, or the last start, has bound it.
    is_bound_before: bool,
    /// Of a Unix socket that is bound here.
    pub(super) unix: Option<UnixPath>,
    /// What a repair makes of it when a worker has spoiled it; known once it was looked at.
    pub(super) as_bound: Option<AsBound>,
    /// A line has said that no client is served there any more.
    pub(super) is_lost: bool,
}

/// What the next binary is to be handed.
#[derive(Clone)]
pub(crate) struct Handoff<'a> {
    pub(crate) entry: &'a str,
    /// Whose it is, where each slot has its own.
    pub(crate) slot: Option<usize>,
    /// What it is called in a service manager's store, if it is there.
    pub(crate) stored: Option<&'a str>,
    pub(crate) inherited: Option<&'a (String, usize)>,
    /// The mode that it has, or, for the one before, the one that its workers knew.
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

    /// With the place as what is written in `listen`.
    pub(super) fn at(label: &Label, place: &impl fmt::Display, sockets: Sockets) -> Listener {
        Listener::new(label.clone(), Labelled(label, place).to_string(), sockets)
    }

    /// Whether workers of the binary before have it, too, in the mode that it has now.
    pub(super) fn in_use(self, is_in_use: bool) -> Listener {
        let socket = self.any_socket();
        Listener { was_nonblocking: socket.filter(|_| is_in_use).map(is_nonblocking), ..self }
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

    /// Whether this supervisor has bound it as another binary, or at another start.
    pub(super) fn is_bound_before(&self) -> bool {
        self.is_bound_before
    }

    pub(super) fn is_nonblocking(&self) -> bool {
        self.nonblocking || self.any_socket().is_some_and(is_nonblocking)
    }

    /// It has another socket from here on. Returns what the one before is called in a service manager's store.
    pub(super) fn forget_stored(&mut self) -> Option<String> {
        self.storable = self.storable.take().and_then(Storable::again);
        self.stored.take()
    }

    /// Which file a Unix socket has that is bound here.
    pub(super) fn own_file(&self, unix: &UnixPath) -> Option<FileId> {
        unix::own_file(Path::new(&unix.path)).or_else(|| store_name::file_id(self.stored.as_deref()?))
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

    /// The file of a Unix socket is as it is to be.
    fn set_rights(&mut self) {
        let Some(unix) = self.rights.take() else { return };
        unix::set_rights(&unix, self.stored.as_deref().and_then(store_name::file_id));
    }

    pub(super) fn inherited(self, name: String, number: usize) -> Listener {
        Listener { inherited: Some((name, number)), ..self }
    }

    /// The sockets, those of slots in the order in which the kernel has them.
    fn handoffs(&self, back: bool) -> Vec<Handoff<'_>> {
        let entry = self.was.as_ref().filter(|_| back).unwrap_or(&self.key);
        let stored = self.stored.as_deref();
        let mode = |socket| self.was_nonblocking.filter(|_| back).unwrap_or_else(|| is_nonblocking(socket));
        let inherited = self.inherited.as_ref();
        let one = |slot, socket| Handoff { entry, slot, stored, inherited, nonblocking: mode(socket), socket };
        match &self.sockets {
            Sockets::One(socket) => vec![one(None, socket.as_fd())],
            Sockets::PerSlot(slots) => slots.members().map(|(task_id, socket)| one(Some(task_id), socket)).collect(),
            Sockets::Taken => Vec::new(),
        }
    }

    /// What the next start has to bind: what neither a service manager nor its store keeps open.
    fn bound_here(&self) -> impl Iterator<Item = Closed> {
        let kept_by_others = self.inherited.is_some() || self.stored.is_some();
        let sockets = self.handoffs(false).into_iter().filter(move |_| !kept_by_others);
        sockets.filter_map(|Handoff { socket, .. }| {
            let address = SockRef::from(&socket).local_addr().ok().and_then(|address| address.as_socket());
            let place = address.map_or_else(|| self.key.clone(), |address| Labelled(&self.label, &address).to_string());
            held::closing(place, self.label.kind, socket)
        })
    }

    /// In a worker.
    pub(super) fn take(&mut self) -> Option<OwnedFd> {
        match mem::replace(&mut self.sockets, Sockets::Taken) {
            Sockets::One(socket) => Some(socket),
            Sockets::PerSlot(_) | Sockets::Taken => None,
        }
    }

    /// What it is called in a service manager's store, where that is not what it is to be called.
    pub(super) fn outdated_name(&self) -> Option<&str> {
        let wanted = self.storable.as_ref().map(|storable| storable.name.as_str());
        self.stored.as_deref().filter(|&stored| wanted.is_some_and(|wanted| wanted != stored))
    }

    fn slots(&mut self) -> Option<&mut Slots> {
        match &mut self.sockets {
            Sockets::PerSlot(slots) => Some(slots),
            Sockets::One(_) | Sockets::Taken => None,
        }
    }

    fn set_nonblocking(&mut self) -> io::Result<()> {
        self.nonblocking = true;
        let set = |socket: BorrowedFd<'_>| SockRef::from(&socket).set_nonblocking(true);
        match &self.sockets {
            Sockets::One(socket) => set(socket.as_fd()),
            Sockets::PerSlot(slots) => slots.sockets().try_for_each(set),
            Sockets::Taken => Ok(()),
        }
    }
}

impl Listeners {
    /// Owns what is open already, and lets the kernel know that every slot takes what is new, if that is news.
    pub(super) fn new(listeners: Vec<Listener>, left: Vec<BoundBefore>, is_news: bool) -> Listeners {
        let mut new = Listeners {
            listeners,
            in_use: 0,
            left,
            intakes: BTreeMap::new(),
            is_late: false,
            is_refused: false,
            closed: Vec::new(),
        };
        if is_news {
            if let Err(error) = new.try_to_steer() {
                new.is_refused = true;
                new.tell_refusal(&error);
            }
        }
        new
    }

    /// All that the next binary is to be handed, or the one before, which had it for entries of its own.
    pub(crate) fn handoffs(&self, back: bool) -> impl Iterator<Item = Handoff<'_>> {
        let left = self.left.iter().filter(move |_| back).map(|BoundBefore { entry, slot, stored, socket, .. }| {
            let (slot, stored, socket) = (*slot, stored.as_deref(), socket.as_fd());
            Handoff { entry, slot, stored, inherited: None, nonblocking: is_nonblocking(socket), socket }
        });
        self.listeners.iter().flat_map(move |listener| listener.handoffs(back)).chain(left)
    }

    /// There is no binary before any more.
    pub(crate) fn forget_before(&mut self) {
        self.left.clear();
        for listener in &mut self.listeners {
            (listener.was, listener.was_nonblocking) = (None, None);
            listener.set_rights();
        }
    }

    /// Whoever waits in accept(2), or reads, in blocking mode would fail in the other.
    pub(crate) fn check_mode(&self, is_meant: impl Fn(Kind) -> bool) -> Result<(), Error> {
        let waits = |listener: &&Listener| listener.was_nonblocking == Some(false) && is_meant(listener.label.kind);
        match self.listeners.iter().find(waits) {
            Some(Listener { label, key, .. }) => Err(Error::Argument {
                reason: format!(
                    "a {} of tokio is asked for, but the workers of the running pool have {} in blocking mode, which an \
                     upgrade cannot change under them: restart the service instead",
                    label.kind.type_name(),
                    if key.is_empty() { "what it was started with" } else { key },
                ),
            }),
            None => Ok(()),
        }
    }

    /// The mode of a socket is that of all its copies.
    pub(crate) fn set_nonblocking(&mut self, is_meant: impl Fn(Kind) -> bool) -> io::Result<()> {
        let meant = self.listeners.iter_mut().filter(|listener| is_meant(listener.label.kind));
        meant.into_iter().try_for_each(Listener::set_nonblocking)
    }

    /// In a worker that has this task id: its own are left, and the sockets of the other slots closed.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn retain(&mut self, task_id: usize) {
        // The memory stays shared with the supervisor as long as nobody frees it.
        mem::forget(mem::take(&mut self.intakes));
        self.left.clear();
        for listener in &mut self.listeners {
            if !matches!(listener.sockets, Sockets::PerSlot(_)) {
                continue;
            }
            if let Sockets::PerSlot(slots) = mem::replace(&mut listener.sockets, Sockets::Taken) {
                listener.sockets = slots.retain(task_id).map_or(Sockets::Taken, Sockets::One);
            }
        }
    }

    /// From here on new connections are refused, once no worker has the sockets any more.
    pub(crate) fn close(&mut self) {
        let bound = self.listeners.iter().flat_map(Listener::bound_here);
        let left = self.left.iter().filter(|left| left.stored.is_none());
        let left = left.filter_map(|left| {
            held::closing(left.entry.clone(), inherited::kind(&left.socket).ok()?, left.socket.as_fd())
        });
        self.closed.extend(bound.chain(left));
        self.listeners.clear();
        self.left.clear();
    }

    /// A line that names the processes that still have what was closed, if there are any.
    pub(crate) fn still_held(&self) -> Option<String> {
        held::after_the_end(&self.closed)
    }

    /// Whether what is new comes to a slot. The kernel learns of it with the next [`steer`](Listeners::steer).
    pub(crate) fn set_intake(&mut self, task_id: usize, intake: Intake) {
        match intake {
            Intake::Open => self.intakes.remove(&task_id),
            Intake::Away | Intake::Closed => self.intakes.insert(task_id, intake),
        };
        self.is_late = true;
    }

    /// Lets the kernel know which slots take what is new.
    pub(crate) fn steer(&mut self) {
        if !mem::take(&mut self.is_late) || self.is_refused {
            return;
        }
        if let Err(error) = self.try_to_steer() {
            tell_failure(&error);
        }
    }

    /// What the kernel goes by is out of date where a worker of a slot has changed it.
    pub(super) fn steer_again(&mut self) {
        self.is_late |= self.listeners.iter_mut().any(|listener| listener.slots().is_some());
    }

    /// Gives a slot another socket at an address.
    pub(super) fn bind_slot_anew(&mut self, index: usize, task_id: usize, as_bound: &AsBound) -> io::Result<()> {
        let intakes = mem::take(&mut self.intakes);
        let listener = &mut self.listeners[index];
        let (kind, nonblocking) = (listener.label.kind, listener.nonblocking);
        let bound = listener.slots().zip(as_bound.inet()).map(|(slots, (address, only_ipv6))| {
            // Steering what comes meanwhile is tried again with the socket that takes its place.
            let _ = slots.close(task_id, intake_of(&intakes));
            let socket = inet::bind_beside(kind, address, only_ipv6)?;
            SockRef::from(&socket).set_nonblocking(nonblocking)?;
            slots.add(task_id, socket);
            Ok(())
        });
        self.intakes = intakes;
        self.is_late = true;
        bound.unwrap_or(Ok(()))
    }

    /// Makes the sockets of a slot, or none. Nothing comes to them before the slot's intake is open.
    pub(crate) fn open(&mut self, task_id: usize) -> io::Result<()> {
        self.set_intake(task_id, Intake::Away);
        let opened = self.bind_missing(task_id);
        if opened.is_err() {
            self.close_slot(task_id);
        }
        opened
    }

    /// Makes what slots that have sockets do not have yet: at addresses that came with this binary, or that the one that
    /// has failed did not listen on when the slot was added.
    pub(crate) fn complete(&mut self, mut task_ids: impl Iterator<Item = usize>) -> io::Result<()> {
        task_ids.try_for_each(|task_id| self.bind_missing(task_id))
    }

    fn bind_missing(&mut self, task_id: usize) -> io::Result<()> {
        self.listeners.iter_mut().try_for_each(|listener| {
            let (kind, nonblocking, key) = (listener.label.kind, listener.nonblocking, listener.key.clone());
            // One that came with the binary may have sockets for every slot that there will be.
            let Some(slots) = listener.slots().filter(|slots| slots.of(task_id).is_none()) else { return Ok(()) };
            let Some(sibling) = slots.any() else { return Ok(()) };
            let bound = inet::address_of(sibling).and_then(|(address, only_ipv6)| {
                let socket = inet::bind_beside(kind, address, only_ipv6)?;
                SockRef::from(&socket).set_nonblocking(nonblocking)?;
                Ok(socket)
            });
            slots.add(task_id, bound.map_err(|error| named(&key, &error))?);
            self.is_late = true;
            Ok(())
        })
    }

    /// Whether somebody waits in a queue of this slot.
    pub(crate) fn has_waiting(&mut self, task_id: usize) -> bool {
        self.listeners.iter_mut().filter_map(Listener::slots).any(|slots| slots.has_waiting(task_id))
    }

    /// Closes the sockets of a slot, to which nothing new comes any more.
    pub(crate) fn close_slot(&mut self, task_id: usize) {
        self.steer();
        let intakes = mem::take(&mut self.intakes);
        for slots in self.listeners.iter_mut().filter_map(Listener::slots) {
            match slots.close(task_id, intake_of(&intakes)) {
                Err(error) if !self.is_refused => tell_failure(&error),
                _ => {}
            }
        }
        self.intakes = intakes;
        self.intakes.remove(&task_id);
        self.is_late = true;
    }

    fn try_to_steer(&mut self) -> io::Result<()> {
        let intake = intake_of(&self.intakes);
        self.listeners.iter_mut().filter_map(Listener::slots).try_for_each(|slots| slots.steer(&intake))
    }

    fn tell_refusal(&self, error: &io::Error) {
        let loses = self.listeners.iter().any(|listener| listener.label.kind == Kind::Tcp)
            && sys::queues_migrate() == Some(false);
        if loses {
            report::warn(&format!(
                "reuse_port: the kernel refuses to steer connections ({error}), so those that come while a slot has no \
                 worker wait for it, and some that come while SIGTTOU closes a slot may be reset: sysctl \
                 net.ipv4.tcp_migrate_req=1 lets the other workers have them"
            ));
        }
    }
}

/// As it is where that cannot be asked.
fn is_nonblocking(socket: BorrowedFd<'_>) -> bool {
    SockRef::from(&socket).nonblocking().unwrap_or(false)
}

fn intake_of(intakes: &BTreeMap<usize, Intake>) -> impl Fn(usize) -> Intake {
    |task_id| intakes.get(&task_id).copied().unwrap_or(Intake::Open)
}

/// The same error, with where it came.
fn named(key: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{key}: {error}"))
}

fn tell_failure(error: &io::Error) {
    report::warn(&format!(
        "cannot steer new connections ({error}): they go to the same workers as before, whether these accept or not, \
         until the next worker starts or ends"
    ));
}
