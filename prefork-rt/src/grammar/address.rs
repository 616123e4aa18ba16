//! What can be listened on, and how it is written.
//!
//! It must not know sockets: what an entry resolves to is found out where it is bound.

mod mistake;
#[cfg(test)]
mod tests;
mod unix_path;

use std::fmt;
use std::net::SocketAddr;

use super::number::is_number;
use mistake::why_not_an_address;
pub(crate) use unix_path::UnixPath;
use unix_path::unix_path;

/// One entry of `listen`: what is listened on, and the name that it is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(crate) name: Option<String>,
    pub(crate) place: Place,
}

/// Where clients find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Tcp(Host),
    Udp(Host),
    Unix(UnixPath),
}

/// An IP address or the name of some, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Address(SocketAddr),
    Name(String, u16),
    /// Every address of this machine, of each family that it has.
    Every(u16),
}

/// What a socket is, and so which type it has in Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Udp,
    Unix,
}

impl Place {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Place::Tcp(_) => Kind::Tcp,
            Place::Udp(_) => Kind::Udp,
            Place::Unix(_) => Kind::Unix,
        }
    }
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Tcp, Kind::Udp, Kind::Unix];

    /// The type in the standard library, and in tokio.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Kind::Tcp => "TcpListener",
            Kind::Udp => "UdpSocket",
            Kind::Unix => "UnixListener",
        }
    }

    /// What there may be none of, or too many.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Kind::Tcp => "address",
            Kind::Udp => "UDP address",
            Kind::Unix => "Unix socket",
        }
    }

    /// "an address", "a UDP address".
    pub(crate) fn one(self) -> String {
        format!("{} {}", if self == Kind::Tcp { "an" } else { "a" }, self.noun())
    }

    pub(crate) fn example(self) -> &'static str {
        match self {
            Kind::Tcp => "127.0.0.1:8080",
            Kind::Udp => "udp:127.0.0.1:5353",
            Kind::Unix => "unix:/run/app.sock",
        }
    }
}

/// As it is written, with all there is to it.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        self.place.fmt(f)?;
        let Place::Unix(unix) = &self.place else { return Ok(()) };
        let parameters = [
            unix.mode.map(|mode| format!("mode={mode:o}")),
            unix.owner.as_ref().map(|owner| format!("owner={owner}")),
            unix.group.as_ref().map(|group| format!("group={group}")),
        ];
        for (index, parameter) in parameters.into_iter().flatten().enumerate() {
            write!(f, "{}{parameter}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// As it is written.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(host) => host.fmt(f),
            Place::Udp(host) => write!(f, "udp:{host}"),
            Place::Unix(unix) => write!(f, "unix:{}", unix.path),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(address) => address.fmt(f),
            Host::Name(host, port) => write!(f, "{host}:{port}"),
            Host::Every(port) => write!(f, "*:{port}"),
        }
    }
}

/// Addresses, comma-separated, each of which may be named: `"127.0.0.1:8080"`, `"*:80,admin=localhost:9000"`,
/// `"unix:/run/app.sock?mode=660"`, `"udp:127.0.0.1:5353"`; `"none"` for no address.
pub(crate) fn addresses(text: &str) -> Result<Vec<Entry>, String> {
    match text {
        "none" => Ok(Vec::new()),
        _ => {
            let mut entries = Vec::new();
            for one in text.split(',') {
                entries.push(address(one.trim())?);
            }
            each_name_once(entries)
        }
    }
}

/// Checks that no two entries have one name.
pub(crate) fn each_name_once(entries: Vec<Entry>) -> Result<Vec<Entry>, String> {
    let mut names: Vec<&str> = Vec::new();
    for name in entries.iter().filter_map(|entry| entry.name.as_deref()) {
        if names.contains(&name) {
            return Err(format!("the name {name:?} is given twice: give each address a name of its own"));
        }
        names.push(name);
    }
    Ok(entries)
}

fn address(text: &str) -> Result<Entry, String> {
    if text.is_empty() {
        return Err(format!("the address is empty: {EXAMPLE}"));
    }
    match name_and_place(text) {
        Some((name, address)) => Ok(Entry { name: Some(listener_name(name, text)?), place: place(address)? }),
        None => Ok(Entry { name: None, place: place(text)? }),
    }
}

/// The two parts of an entry that has a name. An equals sign after a colon belongs to the address.
pub(crate) fn name_and_place(entry: &str) -> Option<(&str, &str)> {
    entry.split_once('=').filter(|(name, _)| !name.contains([':', '/']))
}

const EXAMPLE: &str = "write an IP address or host name and a port, for example \"127.0.0.1:8080\" or \"[::]:80\", or \
                       \"unix:/run/app.sock\"";

fn listener_name(name: &str, text: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err(format!("{text:?} has an empty name: write for example \"admin{text}\", or leave out the \"=\""));
    }
    match name.chars().find(|&c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        Some(bad) => Err(format!(
            "{text:?} has the character {bad:?} in its name: use letters, digits, '-', '_' and '.', for example \
             \"admin=127.0.0.1:9000\""
        )),
        None => Ok(name.to_owned()),
    }
}

fn place(text: &str) -> Result<Place, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path, text).map(Place::Unix);
    }
    match text.strip_prefix("udp:") {
        Some(address) => host(address).map(Place::Udp).ok_or_else(|| why_not_an_address("udp:", address)),
        None => host(text).map(Place::Tcp).ok_or_else(|| why_not_an_address("", text)),
    }
}

fn host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse() {
        return Some(Host::Address(address));
    }
    match text.rsplit_once(':')? {
        ("" | "*", port) => Some(Host::Every(port_number(port)?)),
        (host, port) if is_host_name(host) => Some(Host::Name(host.to_owned(), port_number(port)?)),
        _ => None,
    }
}

fn port_number(text: &str) -> Option<u16> {
    if is_number(text) { text.parse().ok() } else { None }
}

/// Whether this can be resolved. What ends in a number is an IP address, or would be one.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (1..=63).contains(&label.len()) && allowed && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number)
}
