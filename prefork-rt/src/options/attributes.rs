//! What a worker sets of its own process by options, before code of the program's runs in it.
//!
//! It must not know when that is: the supervisor has each new worker do it, and under `PREFORK=off` the one process does.

use std::io;

use super::Settings;
use crate::sys;

impl Settings {
    /// Sets them for the process that calls this and for what it starts. An error comes with
    /// the option that cannot be set.
    pub(crate) fn attributes(&self) -> impl Fn() -> Result<(), (&'static str, io::Error)> + use<> {
        // Plain values, so that a worker frees nothing.
        let (no_new_privs, umask) = (self.no_new_privs, self.umask);
        move || {
            if no_new_privs {
                sys::set_no_new_privs().map_err(|error| ("no_new_privs", error))?;
            }
            umask.into_iter().for_each(sys::set_umask);
            Ok(())
        }
    }
}
