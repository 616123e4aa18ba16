//! All listeners of the supervisor, and which slots the kernel gives new connections and datagrams.

use std::io;
use std::mem;
use std::os::fd::AsFd;

use socket2::SockRef;

use super::as_bound::AsBound;
use super::bound_before::BoundBefore;
use super::given::give;
use super::held::{self, Closed};
use super::inet;
use super::inherited;
use super::listener::{HandoffSocket, Listener, is_nonblocking};
use super::slots::Sockets;
use crate::error::Error;
use crate::grammar::Kind;
use crate::logging;
use crate::policy::Intake;
use crate::sys;

/// Everything that is listened on, in the order of `listen`.
pub(crate) struct Listeners {
    pub(super) listeners: Vec<Listener>,
    /// The number of places that a check found in use and did not bind.
    pub(crate) in_use: usize,
    /// Sockets that the previous binary bound, and on which this one does not listen.
    pub(super) left: Vec<BoundBefore>,
    /// The intake of each slot, where it was set: it is open otherwise.
    intakes: Vec<Intake>,
    /// The kernel has not been told of the last changes.
    is_late: bool,
    /// The kernel refuses to steer.
    is_refused: bool,
    /// The sockets that this supervisor has bound, and closed at its end.
    closed: Vec<Closed>,
}

impl Listeners {
    /// Listeners whose slots all take what is new. `install` installs the steering program that says so; the program of
    /// the previous binary stays in place otherwise.
    pub(super) fn new(listeners: Vec<Listener>, left: Vec<BoundBefore>, install: bool) -> Listeners {
        let mut new = Listeners {
            listeners,
            in_use: 0,
            left,
            intakes: Vec::new(),
            is_late: false,
            is_refused: false,
            closed: Vec::new(),
        };
        if install {
            if let Err(error) = new.try_to_steer() {
                new.is_refused = true;
                new.tell_refusal(&error);
            }
        }
        new
    }

    /// All sockets for the next binary. `back`: for the previous binary, under the entries that it had.
    pub(crate) fn handoffs(&self, back: bool) -> Vec<HandoffSocket<'_>> {
        let mut handoffs = Vec::new();
        for listener in &self.listeners {
            handoffs.extend(listener.handoffs(back));
        }
        if back {
            for BoundBefore { entry, slot, stored, socket, .. } in &self.left {
                let (slot, stored, socket) = (*slot, stored.as_deref(), socket.as_fd());
                let nonblocking = is_nonblocking(socket);
                handoffs.push(HandoffSocket { entry, slot, stored, inherited: None, nonblocking, socket });
            }
        }
        handoffs
    }

    /// Forgets the previous binary, to which there is no way back any more.
    pub(crate) fn forget_before(&mut self) {
        self.left.clear();
        self.listeners.iter_mut().for_each(Listener::forget_before);
    }

    /// Refuses tokio's listeners where workers of the previous binary have the sockets in blocking mode: a change of
    /// the mode would make their accept(2) and reads fail.
    pub(crate) fn check_mode(&self, is_meant: impl Fn(Kind) -> bool) -> Result<(), Error> {
        let waits = |listener: &&Listener| listener.was_blocking() && is_meant(listener.label.kind);
        match self.listeners.iter().find(waits) {
            Some(Listener { label, key, .. }) => Err(Error::Argument {
                reason: format!(
                    "a {} of tokio is asked for, but the workers of the running pool have {} in blocking mode, which an \
                     upgrade cannot change under them: restart the service instead",
                    label.kind.type_name(),
                    if key.is_empty() { "the sockets that it was started with" } else { key },
                ),
            }),
            None => Ok(()),
        }
    }

    /// Sets the mode of these sockets, which all their copies share.
    pub(crate) fn set_nonblocking(&mut self, is_meant: &dyn Fn(Kind) -> bool) -> io::Result<()> {
        for listener in &mut self.listeners {
            if is_meant(listener.label.kind) {
                listener.set_nonblocking()?;
            }
        }
        Ok(())
    }

    /// In a worker that has this task id: gives the body its own sockets, and closes those of the other slots, and what
    /// was left of earlier listeners. What need not be freed is not, as it would copy pages that are shared with the supervisor.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn give(&mut self, task_id: usize) {
        if self.listeners.is_empty() && self.left.is_empty() {
            return;
        }
        self.left.clear();
        for listener in &mut self.listeners {
            if !matches!(listener.sockets, Sockets::PerSlot(_)) {
                continue;
            }
            if let Sockets::PerSlot(slots) = mem::replace(&mut listener.sockets, Sockets::Taken) {
                listener.sockets = slots.retain(task_id).map_or(Sockets::Taken, Sockets::One);
            }
        }
        give(mem::take(&mut self.listeners));
    }

    /// Closes all sockets. New connections are refused once no worker has them any more either.
    pub(crate) fn close(&mut self) {
        for listener in &self.listeners {
            self.closed.extend(listener.bound_here());
        }
        for left in &self.left {
            let (None, Ok(kind)) = (&left.stored, inherited::kind(&left.socket)) else { continue };
            if let Some(closed) = held::closing(left.entry.clone(), kind, left.socket.as_fd()) {
                self.closed.push(closed);
            }
        }
        self.listeners.clear();
        self.left.clear();
    }

    /// A line that names the processes that still hold a closed socket, if there are any.
    pub(crate) fn still_held(&self) -> Option<String> {
        held::after_the_end(&self.closed)
    }

    /// Notes whether a slot takes what is new. The next [`steer`](Listeners::steer) tells the kernel.
    pub(crate) fn set_intake(&mut self, task_id: usize, intake: Intake) {
        if task_id >= self.intakes.len() {
            self.intakes.resize(task_id + 1, Intake::Open);
        }
        self.intakes[task_id] = intake;
        self.is_late = true;
    }

    /// Tells the kernel which slots take what is new, if that has changed.
    pub(crate) fn steer(&mut self) {
        // It is asked before each wait. A write after a fork copies the page.
        if !self.is_late {
            return;
        }
        self.is_late = false;
        if self.is_refused {
            return;
        }
        if let Err(error) = self.try_to_steer() {
            tell_failure(&error);
        }
    }

    /// Has the next [`steer`](Listeners::steer) tell the kernel again, as a worker may have replaced the steering
    /// program.
    pub(super) fn steer_again(&mut self) {
        if self.listeners.iter_mut().any(|listener| listener.slots().is_some()) {
            self.is_late = true;
        }
    }

    /// Replaces a slot's socket at one address.
    pub(super) fn bind_slot_anew(&mut self, index: usize, task_id: usize, as_bound: &AsBound) -> io::Result<()> {
        let intakes = mem::take(&mut self.intakes);
        let listener = &mut self.listeners[index];
        let (kind, nonblocking) = (listener.label.kind, listener.nonblocking);
        let bound = listener.slots().zip(as_bound.inet()).map(|(slots, (address, only_ipv6))| {
            // Steering is tried again when the new socket is there.
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

    /// Binds all sockets of a slot, or none. Nothing new comes to them until the slot's intake is open.
    pub(crate) fn open(&mut self, task_id: usize) -> io::Result<()> {
        self.set_intake(task_id, Intake::Away);
        let opened = self.bind_missing(task_id);
        if opened.is_err() {
            self.close_slot(task_id);
        }
        opened
    }

    /// Binds the sockets that slots lack: at addresses that are new in this binary, or on which the binary that failed
    /// did not listen when it added the slot.
    pub(crate) fn complete(&mut self, mut task_ids: impl Iterator<Item = usize>) -> io::Result<()> {
        task_ids.try_for_each(|task_id| self.bind_missing(task_id))
    }

    fn bind_missing(&mut self, task_id: usize) -> io::Result<()> {
        self.listeners.iter_mut().try_for_each(|listener| {
            let (kind, nonblocking, key) = (listener.label.kind, listener.nonblocking, listener.key.clone());
            // A listener that is new in this binary may have a socket for each of its slots already.
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

    /// Whether a connection or a datagram waits in a queue of this slot.
    pub(crate) fn has_waiting(&mut self, task_id: usize) -> bool {
        self.listeners.iter_mut().filter_map(Listener::slots).any(|slots| slots.has_waiting(task_id))
    }

    /// Closes the sockets of a slot, after the kernel was told that it takes nothing new.
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
        self.set_intake(task_id, Intake::Open);
    }

    fn try_to_steer(&mut self) -> io::Result<()> {
        let intake = intake_of(&self.intakes);
        for slots in self.listeners.iter_mut().filter_map(Listener::slots) {
            slots.steer(&intake)?;
        }
        Ok(())
    }

    fn tell_refusal(&self, error: &io::Error) {
        let loses = self.listeners.iter().any(|listener| listener.label.kind == Kind::Tcp)
            && sys::queues_migrate() == Some(false);
        if loses {
            logging::warn(&format!(
                "reuse_port: the kernel refuses to steer connections ({error}), so those that come while a slot has no \
                 worker wait for it, and some that come while SIGTTOU closes a slot may be reset: sysctl \
                 net.ipv4.tcp_migrate_req=1 lets the other workers have them"
            ));
        }
    }
}

fn intake_of(intakes: &[Intake]) -> impl Fn(usize) -> Intake {
    |task_id| intakes.get(task_id).copied().unwrap_or(Intake::Open)
}

/// The error, with the entry of `listen` at which it occurred.
fn named(key: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{key}: {error}"))
}

fn tell_failure(error: &io::Error) {
    logging::warn(&format!(
        "cannot steer new connections ({error}): they go to the same workers as before, whether these accept or not, \
         until the next worker starts or ends"
    ));
}
