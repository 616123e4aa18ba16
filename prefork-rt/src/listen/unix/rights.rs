//! The mode, owner and group that the file of a socket gets.

use std::io;

use super::advice::advise;
use crate::error::Error;
use crate::grammar::UnixPath;
use crate::listen::attempt::Refusal;
use crate::sys;

/// The rights of the file. `None` leaves a right as it is.
#[derive(Default)]
pub(super) struct Rights {
    pub(super) mode: Option<u32>,
    pub(super) owner: Option<u32>,
    pub(super) group: Option<u32>,
}

impl Rights {
    pub(super) fn of(unix: &UnixPath) -> Result<Rights, Error> {
        let user = |name: &str| Ok(sys::getpwnam(name)?.map(|user| user.uid.as_raw()));
        let group = |name: &str| Ok(sys::getgrnam(name)?.map(|group| group.gid.as_raw()));
        Ok(Rights {
            mode: unix.mode,
            owner: id(unix, "user", unix.owner.as_deref(), &user)?,
            group: id(unix, "group", unix.group.as_deref(), &group)?,
        })
    }

    /// Sets the owner first, so that the mode never gives rights to an owner who should not have them.
    pub(super) fn set(
        &self,
        set_owner: &dyn Fn(Option<u32>, Option<u32>) -> io::Result<()>,
        set_mode: &dyn Fn(u32) -> io::Result<()>,
    ) -> Result<(), Refusal> {
        if self.owner.is_some() || self.group.is_some() {
            let advice = "only root can give a file to another user, or to a group that it is not in";
            set_owner(self.owner, self.group).map_err(advise(advice))?;
        }
        if let Some(mode) = self.mode {
            set_mode(mode).map_err(advise("the mode of the file cannot be set"))?;
        }
        Ok(())
    }
}

/// The number of a user or group that is given by name or number.
fn id(
    unix: &UnixPath,
    what: &str,
    name: Option<&str>,
    look_up: &dyn Fn(&str) -> io::Result<Option<u32>>,
) -> Result<Option<u32>, Error> {
    let Some(name) = name else { return Ok(None) };
    let found = match look_up(name) {
        Ok(None) => {
            name.parse().map(Some).map_err(|_| format!("there is no {what} {name:?}: write another, or a number"))
        }
        found => found.map_err(|error| format!("cannot look up the {what} {name:?}: {error}")),
    };
    found.map_err(|reason| Error::Option { name: "listen", reason: format!("unix:{}: {reason}", unix.path) })
}
