//! What this process was started with: how it was launched, the handoff of the previous binary, the sockets and the
//! variables of a service manager. It is taken once, before any code of the program can change it.
//!
//! A start that succeeds uses it up; one that fails leaves it to the next. It must not know what the options are.

use std::env;
use std::mem;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::Error;
use crate::listen::{Announced, Announcement, Inherited};
use crate::notify;
use crate::upgrade::{self, Handoff, Launch};

/// What this process was started with. All builders of a process share it.
pub(crate) struct Inheritance {
    /// How the program was launched.
    pub(crate) launch: Launch,
    /// The handoff of the previous binary, until the supervisor takes it over.
    pub(crate) handoff: Handoff,
    /// The variables of a service manager.
    pub(crate) manager: notify::Variables,
    announcement: Announcement,
    taken: Mutex<Taken>,
}

/// The parts that have to be taken over.
#[derive(Default)]
struct Taken {
    handoff: Taking,
    /// `None` until they have been taken over.
    sockets: Option<Vec<Inherited>>,
    /// The lines about what is not used.
    warnings: Vec<String>,
}

/// What became of the handoff that a variable announces.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Taking {
    #[default]
    NotYet,
    Received,
    /// It was meant for another process, or a start that failed has used it up. A line says so.
    Ignored,
}

impl Inheritance {
    /// The inheritance of this process. Takes over no descriptors yet.
    pub(crate) fn of_this_process() -> &'static Inheritance {
        static INHERITANCE: OnceLock<Inheritance> = OnceLock::new();
        INHERITANCE.get_or_init(|| Inheritance {
            launch: Launch::of_this_program(),
            handoff: Handoff::default(),
            manager: notify::Variables::new(|name| env::var_os(name)),
            announcement: Announcement::new(|name| env::var_os(name)),
            taken: Mutex::default(),
        })
    }

    /// Takes over the descriptors, so that no program that is started from here on inherits them: those of the handoff
    /// that PREFORK_UPGRADE announces with this value, and the sockets. Each is taken once.
    pub(crate) fn take(&self, handoff: Option<&str>, is_rehearsal: bool) -> Result<(), Error> {
        let mut taken = self.taken();
        if let Some(number) = handoff {
            let name = upgrade::VARIABLE;
            // Also where receiving fails: it is tried once.
            let why_ignored = match mem::replace(&mut taken.handoff, Taking::Received) {
                Taking::NotYet if self.handoff.receive(number, is_rehearsal, &self.launch)? => None,
                Taking::NotYet => {
                    Some("it was meant for another process; unset it for the programs that this process starts")
                }
                Taking::Received if self.handoff.is_there() => None,
                Taking::Received => Some("a start that failed has used it up"),
                Taking::Ignored => {
                    taken.handoff = Taking::Ignored;
                    None
                }
            };
            if let Some(why) = why_ignored {
                taken.handoff = Taking::Ignored;
                taken.warnings.push(format!("{name}={number} is ignored: {why}"));
            }
        }
        // The previous binary hands the sockets over that it was started with.
        if taken.sockets.is_none() && !self.handoff.is_there() {
            match self.announcement.take_sockets()? {
                Announced::Sockets(sockets) => taken.sockets = Some(sockets),
                Announced::Ignored(why) => {
                    taken.sockets = Some(Vec::new());
                    taken.warnings.push(why);
                }
            }
        }
        Ok(())
    }

    /// One line for each variable that is there and not used.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.taken().warnings.clone()
    }

    /// The variables that are ignored because this program has more rights than its caller.
    pub(crate) fn distrusted(&self) -> Vec<&'static str> {
        let mut distrusted = self.announcement.distrusted();
        distrusted.append(&mut self.manager.distrusted());
        distrusted
    }

    /// The names of the variables that announce sockets.
    pub(crate) fn socket_variables(&self) -> Vec<&'static str> {
        self.announcement.variables()
    }

    /// Copies of the sockets that this process was started with, for a start that may fail.
    pub(crate) fn sockets(&self) -> Result<Vec<Inherited>, Error> {
        if let Some(received) = &*self.handoff.received() {
            return received.inherited();
        }
        let taken = self.taken();
        let mut copies = Vec::new();
        for socket in taken.sockets.as_deref().unwrap_or_default() {
            copies.push(socket.try_clone().map_err(Error::fcntl)?);
        }
        Ok(copies)
    }

    /// Closes the sockets with this name.
    pub(crate) fn close_sockets(&self, name: &str) {
        if let Some(sockets) = &mut self.taken().sockets {
            sockets.retain(|one| one.name != name);
        }
    }

    /// Closes all sockets, as a start has succeeded and has copies of those that it needs.
    pub(crate) fn close_all_sockets(&self) {
        if let Some(sockets) = &mut self.taken().sockets {
            sockets.clear();
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
