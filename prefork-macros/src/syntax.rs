//! What the attribute understands of Rust's syntax: the form of an expression, of a type and of a function's signature.
//! The rest stays tokens, which rustc has checked or will check.
//!
//! syn reads all of Rust with its feature `full`, which takes three times as long to build as syn without it.

mod cursor; // a place in a list of tokens
mod expression; // where an expression ends, and what it is
mod function; // the parts of a function
mod path; // the segments of a path
mod written_type; // what a type is, as written

pub(crate) use cursor::Cursor;
pub(crate) use expression::{Expr, Form, read_expression};
pub(crate) use function::{Argument, Attribute, Main, Signature};
pub(crate) use path::Path;
pub(crate) use written_type::{Type, TypeForm};
