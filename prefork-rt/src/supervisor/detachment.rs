//! What a worker that becomes another user leaves behind besides the user: the supervisor's session and process group, its
//! session keyring, and the terminals that it could read from.
//!
//! It must not know which user the worker becomes.

use std::io;

use crate::error::Error;
use crate::sys::{self, ReadableTerminal};

/// What is needed to leave all that, made before the first fork.
pub(crate) struct Detachment {
    terminals: Vec<ReadableTerminal>,
}

/// Where the session keyring of the supervisor is.
#[must_use = "the worker may still have it"]
pub(crate) enum Keys {
    Left,
    /// The worker keeps it, as it should.
    Kept,
    /// Root has as many keys as the system allows. The worker's user may have room for more.
    NoRoom,
}

impl Detachment {
    /// `option` is the option that asks for it. `None` where this process lacks the rights to change a worker's user or
    /// group: its workers keep both, and leave nothing behind.
    pub(crate) fn prepare(option: &'static str) -> Result<Option<Detachment>, Error> {
        let missing = sys::missing_rights(true, true);
        if ["CAP_SETUID", "CAP_SETGID"].iter().all(|right| missing.contains(right)) {
            return Ok(None);
        }
        let terminals = sys::readable_terminals().map_err(|(descriptor, error)| Error::Option {
            name: option,
            reason: format!(
                "the terminal that is open as descriptor {descriptor} cannot be opened for writing only ({error}), so \
                 workers could read what is typed there: redirect it to a file or a pipe"
            ),
        })?;
        Ok(Some(Detachment { terminals }))
    }

    /// Leaves all of that. Call it in a worker just forked, while it still has the supervisor's user: a keyring made now counts
    /// for that user, while one of an unprivileged user would count against that user's small quota.
    pub(crate) fn detach(&self) -> io::Result<Keys> {
        sys::lead_session()?;
        self.terminals.iter().try_for_each(ReadableTerminal::forbid_reading)?;
        leave_keys()
    }
}

impl Keys {
    /// Leaves the session keyring as the worker's user, if that failed before for want of room.
    pub(crate) fn leave_after_all(self) -> Result<(), Error> {
        let left = match self {
            Keys::Left | Keys::Kept => return Ok(()),
            Keys::NoRoom => leave_keys(),
        };
        let reason = match left {
            Ok(Keys::Left | Keys::Kept) => return Ok(()),
            Ok(Keys::NoRoom) => io::Error::other(
                "there is no room for a session keyring (sysctl kernel.keys.maxkeys), and without one the worker would \
                 have the supervisor's keys",
            ),
            Err(error) => error,
        };
        Err(Error::of_call("keyctl(2)")(reason))
    }
}

/// Leaves the session keyring, as the user of this process.
pub(crate) fn leave_keys() -> io::Result<Keys> {
    match sys::join_new_session_keyring() {
        Ok(()) => Ok(Keys::Left),
        Err(error) => match sys::errno(&error) {
            // The kernel has no keys, or the worker may not use them: containers forbid keyctl(2), and with it the
            // reading of a key.
            Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => Ok(Keys::Left),
            Some(libc::EDQUOT) => Ok(Keys::NoRoom),
            _ => Err(error),
        },
    }
}
