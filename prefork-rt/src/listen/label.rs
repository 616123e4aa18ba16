//! The kind and name by which a worker asks for a socket, and how `listen` writes a place with them.

use std::fmt;

use crate::grammar::{self, Kind};

/// The kind and name by which a worker asks for a socket.
#[derive(Clone)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    pub(crate) name: Option<String>,
}

/// A place with its label, as `listen` takes it: `admin=127.0.0.1:9000`.
pub(super) struct Labelled<'a>(pub(super) &'a Label, pub(super) &'a dyn fmt::Display);

impl fmt::Display for Labelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Labelled(Label { kind, name }, place) = self;
        let scheme = match kind {
            Kind::Tcp => "",
            Kind::Udp => "udp:",
            Kind::Unix => "unix:",
        };
        match name {
            Some(name) => write!(f, "{name}={scheme}{place}"),
            None => write!(f, "{scheme}{place}"),
        }
    }
}

/// An entry of `listen` without its name, if it has one.
pub(super) fn without_name(entry: &str) -> &str {
    grammar::name_and_place(entry).map_or(entry, |(_, place)| place)
}

pub(super) fn unnamed(kind: Kind) -> Label {
    Label { kind, name: None }
}
