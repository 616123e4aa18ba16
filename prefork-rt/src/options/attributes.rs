//! What a worker sets of its own process by options, before code of the program's runs in it.
//!
//! It must not know when that is: the supervisor has each new worker do it, and under `PREFORK=off` the one process does.

use std::io;

use super::Settings;
use crate::sys;

impl Settings {
    /// Sets them for the process that calls this and for what it starts. An error names the call.
    pub(crate) fn attributes(&self) -> impl Fn() -> io::Result<()> + use<> {
        // Plain values, so that a worker frees nothing.
        let (no_new_privs, umask) = (self.no_new_privs, self.umask);
        move || {
            if no_new_privs {
                sys::set_no_new_privs()?;
            }
            umask.into_iter().for_each(sys::set_umask);
            Ok(())
        }
    }
}
