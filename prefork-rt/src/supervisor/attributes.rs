//! What a worker sets of its own process by options, before code of the program's runs in it.
//!
//! It must not know when that is: the supervisor has each new worker do it, and under `PREFORK=off` the one process does.

use std::io;

use crate::sys;

/// What these options ask for.
pub(crate) struct Attributes {
    pub(crate) no_new_privs: bool,
    pub(crate) umask: Option<u32>,
}

impl Attributes {
    /// Sets them for the process that calls this and for what it starts. An error comes with
    /// the option that cannot be set.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn set(&self) -> Result<(), (&'static str, io::Error)> {
        if self.no_new_privs {
            sys::set_no_new_privs().map_err(|error| ("no_new_privs", error))?;
        }
        if let Some(umask) = self.umask {
            sys::set_umask(umask);
        }
        Ok(())
    }
}
