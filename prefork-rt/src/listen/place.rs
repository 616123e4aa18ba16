//! An entry of `listen`, resolved: where it is.
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
    /// The entry, as it is written.
    pub(super) key: String,
    pub(super) at: At,
}

pub(super) enum At {
    Addresses(Vec<SocketAddr>),
    Path(UnixPath),
    Inherited(Vec<Inherited>),
}

pub(super) fn labels<'a>(places: impl IntoIterator<Item = &'a Resolved>) -> Vec<Label> {
    let sockets = |place: &Resolved| match &place.at {
        At::Addresses(addresses) => addresses.len(),
        At::Path(_) => 1,
        At::Inherited(sockets) => sockets.len(),
    };
    places.into_iter().flat_map(|place| std::iter::repeat_n(place.label.clone(), sockets(place))).collect()
}

/// Whether an IPv6 address for every interface must leave its port to IPv4, which it would serve too, because an IPv4
/// address with that port is listed. Port 0 is one port for the addresses of one name only.
pub(super) fn shares_its_port(kind: Kind, address: SocketAddr, siblings: &[SocketAddr], places: &[Resolved]) -> bool {
    let of_kind = places.iter().filter(|place| place.label.kind == kind);
    let mut listed = of_kind.flat_map(|place| match &place.at {
        At::Addresses(addresses) => addresses.as_slice(),
        At::Path(_) | At::Inherited(_) => &[],
    });
    let same_port = listed.any(|other| other.is_ipv4() && other.port() == address.port() && address.port() != 0);
    is_every_ipv6(address) && (same_port || siblings.iter().any(SocketAddr::is_ipv4))
}
