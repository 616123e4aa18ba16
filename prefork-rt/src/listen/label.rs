//! What a socket is asked for by, and how a place is written with it, as in `listen`.

use std::fmt;

use crate::grammar::{self, Kind};

/// What a socket is asked for by.
#[derive(Clone)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    pub(crate) name: Option<String>,
}

/// Where a socket is, as `listen` takes it: `admin=127.0.0.1:9000`.
pub(super) struct Labelled<'a, T>(pub(super) &'a Label, pub(super) &'a T);

impl<T: fmt::Display> fmt::Display for Labelled<'_, T> {
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

/// What an entry is without its name, if it has one.
pub(super) fn without_name(entry: &str) -> &str {
    grammar::name_and_place(entry).map_or(entry, |(_, place)| place)
}

pub(super) fn unnamed(kind: Kind) -> Label {
    Label { kind, name: None }
}
