//! What the attribute understands of Rust's syntax: the form of an expression, of a type and of a function's signature.
//! The rest stays tokens, which rustc has checked or will check.
//!
//! There is no syn here: it reads all of Rust, and would add 7 % to the build of a user's crate.

mod cursor; // a place in a list of tokens
mod expression; // where an expression ends, and what it is
mod function; // the parts of a function
mod literal; // the value of a literal
mod path; // the segments of a path
mod written_type; // what a type is, as written

pub(crate) use cursor::Cursor;
pub(crate) use expression::{Expr, Form, read_expression};
pub(crate) use function::{Argument, Attribute, Main, Signature};
pub(crate) use literal::{Integer, Lit};
pub(crate) use path::{Path, Place};
pub(crate) use written_type::{Type, TypeForm};
