//! Which options there are, and how their values are written.
//!
//! One folder serves the macro's literals, the builder and the environment (prefork-macros sees it through a symbolic
//! link), so a value is read, and refused, in the same words everywhere. It holds nothing that only one of the two
//! crates needs. A reader must not know which option or variable its text belongs to: each error is the end of a
//! sentence that the caller begins with that name.

mod account;
mod address;
mod duration;
mod foreign;
mod nearest;
mod number;
mod options;
mod size;
#[cfg(test)]
pub(crate) mod tables;
mod width;
mod words;

pub(crate) use account::*;
pub(crate) use address::*;
pub(crate) use duration::*;
pub(crate) use foreign::*;
pub(crate) use nearest::*;
pub(crate) use number::*;
pub(crate) use options::*;
pub(crate) use size::*;
pub(crate) use width::*;
pub use words::*;
