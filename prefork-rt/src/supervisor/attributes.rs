//! What a worker sets of its own process by options, before code of the program's runs in it.
//!
//! It must not know why: each is a system call with the option's value. Under `PREFORK=off` the one process sets it.

use std::io;

use crate::sys;

/// Plain values, so that a worker frees nothing.
#[derive(Clone, Copy)]
pub(crate) struct Attributes {
    /// Nothing that it executes gives it rights.
    pub(crate) no_new_privs: bool,
    /// The permission bits that the files it makes lack.
    pub(crate) umask: Option<u32>,
}

impl Attributes {
    /// For this process and what it starts. An error names the call.
    pub(crate) fn set(self) -> io::Result<()> {
        if self.no_new_privs {
            sys::set_no_new_privs()?;
        }
        self.umask.into_iter().for_each(sys::set_umask);
        Ok(())
    }
}
