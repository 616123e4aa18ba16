//! How option values are written, and which known name a misspelt one is nearest to.
//!
//! One folder serves the macro's literals, the builder and the environment (prefork-macros sees it through a symbolic
//! link), so a value is read, and refused, in the same words everywhere. It must not know which option or variable a
//! value belongs to: each error is the end of a sentence that the caller begins with that name.

mod account;
mod address;
mod duration;
mod nearest;
mod number;
mod size;
mod words;

pub(crate) use account::*;
pub(crate) use address::*;
pub(crate) use duration::*;
pub(crate) use nearest::*;
pub(crate) use number::*;
pub(crate) use size::*;
pub use words::*;
