#![doc = include_str!("../README.md")]
#![deny(unsafe_code, missing_docs)]

#[cfg(not(unix))]
compile_error!("prefork needs fork(2), so it runs on Unix only: Linux is tested, Windows cannot be supported");

#[cfg(unix)]
mod expansion; // Here, because compile errors in a user's crate name it.
#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(unix)]
#[path = "unix.rs"] // Its modules are files beside this one.
mod unix;

#[cfg(unix)]
pub use unix::*;

pub use prefork_macros::prefork;
