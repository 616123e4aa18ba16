// Its first example compiles with the feature only.
#![cfg_attr(any(not(doctest), feature = "hyper_1"), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg(hide(unix))))]
#![deny(unsafe_code, missing_docs, missing_debug_implementations)]

#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(unix)]
#[path = "unix.rs"] // Its modules are files beside this one.
mod unix;
#[cfg(not(unix))]
compile_error!("prefork needs fork(2), so it runs on Unix only: Linux is tested, Windows cannot be supported");

pub use prefork_macros::prefork;
#[cfg(unix)]
pub use unix::*;
