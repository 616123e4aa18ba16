//! Repairs listeners that one worker has spoiled for all: restores the state of a socket, or binds the place anew.
//!
//! It must not know when a listener is inspected, nor where the lines go.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use socket2::SockRef;

use super::as_bound::{AsBound, Health};
use super::listener::Listener;
use super::listeners::Listeners;
use super::slots::Sockets;
use super::{inet, unix};
use crate::wording::list;

/// When listeners are inspected.
#[derive(Clone, Copy)]
pub(crate) enum Moment<'a> {
    /// At the start of this supervisor.
    Start,
    /// After the end of these workers: the task id and process id of each.
    Ends(&'a [(usize, i32)]),
}

/// A problem that was found, and what was done.
pub(crate) struct Repair {
    /// The line about it.
    pub(crate) line: String,
    /// Live workers have a socket that is of no use any more.
    pub(crate) leaves_workers_behind: bool,
    /// The name in a service manager's store of the socket that is of no use any more.
    pub(crate) stored: Option<String>,
}

impl Listeners {
    /// Inspects the sockets that these workers had, or all sockets at the start, and repairs those that were spoiled.
    pub(crate) fn inspect(&mut self, moment: Moment<'_>) -> Vec<Repair> {
        if matches!(moment, Moment::Ends(_)) {
            // The kernel does not tell which steering program it uses.
            self.steer_again();
        }
        let mut repairs = Vec::new();
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            let as_bound = listener.as_bound.take();
            // No other process has had what was bound at this start.
            let is_fresh = as_bound.is_none() && !listener.is_inherited() && !listener.is_bound_before();
            let Some(mut as_bound) = as_bound.or_else(|| listener.look_as_bound()) else { continue };
            if is_fresh {
                listener.as_bound = Some(as_bound);
                continue;
            }
            match &listener.sockets {
                Sockets::One(socket) => {
                    let health = as_bound.check(socket.as_fd());
                    if let Some(repair) = listener.repair(&mut as_bound, health, moment) {
                        repairs.push(repair);
                    }
                }
                Sockets::PerSlot(slots) => {
                    let mut found = Vec::new();
                    for (task_id, socket) in slots.members() {
                        if moment.is_of(task_id) {
                            found.push((task_id, as_bound.check(socket)));
                        }
                    }
                    for (task_id, health) in found {
                        if let Some(repair) = self.repair_slot(index, &as_bound, task_id, health, moment) {
                            repairs.push(repair);
                        }
                    }
                }
                Sockets::Taken => {}
            }
            self.listeners[index].as_bound = Some(as_bound);
        }
        repairs
    }

    /// Binds a slot's lost socket anew. Its worker has ended, so no other process has the old one.
    fn repair_slot(
        &mut self,
        index: usize,
        as_bound: &AsBound,
        task_id: usize,
        health: Health,
        moment: Moment<'_>,
    ) -> Option<Repair> {
        let place = format!("the socket of slot {task_id} at {}", as_bound.place(&self.listeners[index].label));
        let line = match health {
            Health::Sound => return None,
            Health::Repaired(found) => repaired(&place, moment, &found),
            Health::Lost(found) => match self.bind_slot_anew(index, task_id, as_bound) {
                Ok(()) => format!("{place} was bound anew {moment}: {found}"),
                Err(error) => lost(&place, moment, &found, &error),
            },
        };
        Some(Repair { line, leaves_workers_behind: false, stored: None })
    }
}

impl Listener {
    /// The state of the sockets now: as they were bound, or as the previous binary left them.
    fn look_as_bound(&self) -> Option<AsBound> {
        let (kind, socket) = (self.label.kind, self.any_socket()?);
        match (self.is_inherited(), self.is_bound_before()) {
            (true, _) => AsBound::inherited(kind, socket),
            (false, true) => AsBound::taken_over(kind, socket),
            (false, false) => AsBound::fresh(kind, socket),
        }
    }

    fn repair(&mut self, as_bound: &mut AsBound, health: Health, moment: Moment<'_>) -> Option<Repair> {
        // The address of a Unix socket is the path before it was moved to its place.
        let place = if self.unix.is_some() { self.key.clone() } else { as_bound.place(&self.label) };
        let repair = |line| Repair { line, leaves_workers_behind: false, stored: None };
        let found = match health {
            Health::Sound => return None,
            Health::Repaired(found) => return Some(repair(repaired(&place, moment, &found))),
            Health::Lost(found) => found,
        };
        if self.is_inherited() {
            // One line is enough.
            if std::mem::replace(&mut self.is_lost, true) {
                return None;
            }
            return Some(repair(format!(
                "{place} cannot be repaired {moment}: {found}; no client is served there: restart the program that \
                 opened it (systemctl restart of the .socket unit)"
            )));
        }
        match self.bind_anew(as_bound) {
            Ok(socket) => {
                if let Some(renewed) = AsBound::fresh(self.label.kind, socket.as_fd()) {
                    *as_bound = renewed;
                }
                self.sockets = Sockets::One(socket);
                let line = format!(
                    "{place} was bound anew {moment}: {found}; the workers that have the old socket are replaced"
                );
                Some(Repair { line, leaves_workers_behind: true, stored: self.forget_stored() })
            }
            Err(error) => Some(repair(lost(&place, moment, &found, &error))),
        }
    }

    /// Binds a socket at the same place, which the old one gives up.
    fn bind_anew(&self, as_bound: &AsBound) -> io::Result<OwnedFd> {
        let (Sockets::One(old), kind) = (&self.sockets, self.label.kind) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let socket = match (as_bound.inet(), &self.unix) {
            (Some((address, only_ipv6)), _) => inet::bind_anew(kind, address, only_ipv6, old.as_fd())?,
            (None, Some(unix)) => {
                let file = self.own_file(unix).ok_or_else(|| io::Error::other("its file is another process's"))?;
                unix::bind_anew(unix, file)?
            }
            (None, None) => return Err(io::ErrorKind::Unsupported.into()),
        };
        SockRef::from(&socket).set_nonblocking(self.is_nonblocking())?;
        Ok(socket)
    }
}

impl Moment<'_> {
    fn is_of(self, task_id: usize) -> bool {
        match self {
            Moment::Start => true,
            Moment::Ends(ended) => ended.iter().any(|&(other, _)| other == task_id),
        }
    }
}

/// "after the end of worker 1 (pid 4711)"
impl std::fmt::Display for Moment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MOST_NAMED: usize = 3;
        match self {
            Moment::Start => f.write_str("as this program took it over"),
            Moment::Ends(ended) => {
                let workers = list(ended.len(), MOST_NAMED, |nth, f| {
                    let (task_id, pid) = ended[nth];
                    write!(f, "worker {task_id} (pid {pid})")
                });
                write!(f, "after the end of {workers}")
            }
        }
    }
}

fn repaired(place: &str, moment: Moment<'_>, found: &str) -> String {
    format!("{place} was repaired {moment}: {found}")
}

fn lost(place: &str, moment: Moment<'_>, found: &str, error: &io::Error) -> String {
    format!(
        "{place} cannot be repaired {moment}: {found}, and binding it anew failed: {error}; no client is served there: \
         restart the service"
    )
}
