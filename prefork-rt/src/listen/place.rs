//! An entry of `listen` with its addresses, its path or the sockets that take its place.
//!
//! It must not know how anything is bound.

use std::net::SocketAddr;

use super::inet::is_every_ipv6;
use super::inherited::Inherited;
use super::label::Label;
use crate::grammar::{Kind, UnixPath};

/// An entry of `listen` whose host name, if it has one, is resolved.
pub(crate) struct Resolved {
    pub(super) label: Label,
    /// The entry, as it is written in `listen`.
    pub(super) key: String,
    pub(super) at: At,
}

pub(super) enum At {
    Addresses(Vec<SocketAddr>),
    Path(UnixPath),
    Inherited(Vec<Inherited>),
}

/// One label for each socket.
pub(super) fn labels(places: &[Resolved]) -> Vec<Label> {
    let mut labels = Vec::new();
    for place in places {
        let sockets = match &place.at {
            At::Addresses(addresses) => addresses.len(),
            At::Path(_) => 1,
            At::Inherited(sockets) => sockets.len(),
        };
        labels.resize(labels.len() + sockets, place.label.clone());
    }
    labels
}

/// Whether the socket of an IPv6 address for every interface must leave its port to IPv4. By default it would serve
/// IPv4, too, which must not be where `listen` has an IPv4 address with that port. Port 0 means one port only among
/// `siblings`, the addresses of one host name.
pub(super) fn shares_its_port(kind: Kind, address: SocketAddr, siblings: &[SocketAddr], places: &[Resolved]) -> bool {
    let has_its_port = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port() && address.port() != 0;
    let has_its_port = |place: &Resolved| match &place.at {
        At::Addresses(addresses) => place.label.kind == kind && addresses.iter().any(has_its_port),
        At::Path(_) | At::Inherited(_) => false,
    };
    is_every_ipv6(address) && (places.iter().any(has_its_port) || siblings.iter().any(SocketAddr::is_ipv4))
}
