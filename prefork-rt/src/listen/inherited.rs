//! The sockets that this process was started with, and which entry of `listen` each takes the place of.
//!
//! They come by the protocol of sd_listen_fds(3). It must not know whether systemd or another program has left them.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::{Domain, SockRef, Type};

use super::as_bound::revive;
use super::label::{Label, Labelled, unnamed};
use crate::error::Error;
use crate::grammar::{Entry, Kind};
use crate::logging;
use crate::sys;
use crate::trust;

/// The variables that announce sockets to one process.
pub(crate) const VARIABLES: [&str; 4] = [COUNT, PID, NAMES, PIDFD];

const COUNT: &str = "LISTEN_FDS";
const PID: &str = "LISTEN_PID";
const NAMES: &str = "LISTEN_FDNAMES";
/// The number of LISTEN_PID's pidfd, since systemd 259.
const PIDFD: &str = "LISTEN_PIDFDID";
/// The first descriptor.
const FIRST: usize = sys::FIRST_LISTEN_FD as usize;
/// What systemd writes for a socket without a name, for an accepted connection, and for a descriptor that was stored without
/// a name.
const NO_NAMES: [&str; 4] = ["", "unknown", "connection", "stored"];

/// A socket that this process was started with.
pub(crate) struct Inherited {
    /// Its name in LISTEN_FDNAMES.
    pub(super) name: String,
    pub(super) socket: OwnedFd,
    /// Its address or path.
    pub(super) place: String,
    /// The number of the descriptor when the process was started.
    pub(super) number: usize,
    /// It came from the previous binary, whose workers use it, too.
    pub(super) is_in_use: bool,
}

/// Those that no start has taken for good: one that fails leaves them to the next.
static RECEIVED: Mutex<Vec<Inherited>> = Mutex::new(Vec::new());

fn received() -> MutexGuard<'static, Vec<Inherited>> {
    RECEIVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes over what the environment announces for this process, so that no program that is started from here on
/// inherits it too. Without a process id it is for this process: tools for developers leave it out. Returns why it is
/// ignored, where it is.
pub(crate) fn receive() -> Result<Option<String>, Error> {
    let present = present();
    if present.is_empty() || !is_believed() {
        return Ok(None);
    }
    let Some(count) = value(COUNT) else {
        return Ok(Some(format!("ignored without {COUNT}, which announces sockets: {}", present.join(", "))));
    };
    if value(PID).is_some_and(|pid| pid.to_str().is_none_or(|pid| pid.parse::<u32>().is_err())) {
        return Err(not_as_announced(&format_args!("{PID} is no process id")));
    }
    if let Some(why) = trust::names_another(PID) {
        let count = count.to_string_lossy();
        return Ok(Some(format!(
            "{COUNT}={count} is ignored: {why}, or unset {PID}; listen is bound as it is written"
        )));
    }
    let count = count.to_str().and_then(|count| count.parse::<i32>().ok()).filter(|&count| count >= 0);
    let count = count.ok_or_else(|| not_as_announced(&format_args!("{COUNT} is no number of descriptors")))?;
    if count == 0 && value(NAMES).is_some() {
        return Ok(Some(format!("{NAMES} is ignored: {COUNT}=0 announces no sockets")));
    }
    let sockets = sys::listen_fds(count).map_err(|error| not_as_announced(&error))?;
    let names = names(sockets.len())?;
    let new = (FIRST..).zip(names.into_iter().zip(sockets)).map(|(number, (name, socket))| {
        let place = place(&socket);
        if revive(socket.as_fd()) {
            logging::warn(&format!(
                "{place}, which this program was started with, did not listen, as after shutdown(2) by a worker of its \
                 last start: it listens again"
            ));
        }
        Inherited { name, socket, place, number, is_in_use: false }
    });
    received().extend(new);
    Ok(None)
}

/// Whether this program believes its caller. With more rights than the caller, it does if LISTEN_PID is there.
fn is_believed() -> bool {
    trust::in_options() || trust::in_sockets() && value(PID).is_some()
}

/// The variables that are ignored because this program has more rights than its caller.
pub(crate) fn distrusted() -> Vec<&'static str> {
    if is_believed() { Vec::new() } else { present() }
}

fn present() -> Vec<&'static str> {
    VARIABLES.into_iter().filter(|name| value(name).is_some()).collect()
}

fn value(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

/// Takes over what was received by the binary before, with names and numbers. Takes the place of what an earlier call has
/// taken over, as a program may make a second builder.
pub(crate) fn receive_again(sockets: Vec<(String, usize, OwnedFd)>) {
    let again = sockets.into_iter().map(|(name, number, socket)| {
        let place = place(&socket);
        Inherited { name, socket, place, number, is_in_use: true }
    });
    *received() = again.collect();
}

/// The name of each socket: empty where LISTEN_FDNAMES is missing.
fn names(count: usize) -> Result<Vec<String>, Error> {
    let Some(names) = env::var_os(NAMES).filter(|_| count > 0) else { return Ok(vec![String::new(); count]) };
    let names: Vec<String> = names.to_string_lossy().split(':').map(str::to_owned).collect();
    if names.len() == count { Ok(names) } else { Err(not_as_announced(&format_args!("{} names came", names.len()))) }
}

fn not_as_announced(error: &impl fmt::Display) -> Error {
    let said: Vec<String> = [COUNT, PID, NAMES]
        .into_iter()
        .filter_map(|name| value(name).map(|value| format!("{name}={}", value.to_string_lossy())))
        .collect();
    Error::Environment {
        variable: COUNT.to_owned(),
        reason: format!(
            "the sockets that are announced cannot be taken over: {error} ({}); expected are as many open descriptors \
             from {FIRST} on as {COUNT} says, and no names or as many: mend what starts this program, or unset {COUNT}",
            said.join(" ")
        ),
    }
}

/// The address or path of a socket, without its kind.
fn place(socket: &OwnedFd) -> String {
    let Ok(address) = SockRef::from(socket).local_addr() else { return "nowhere".to_owned() };
    if let Some(address) = address.as_socket() {
        return address.to_string();
    }
    match (address.as_pathname(), address.as_abstract_namespace()) {
        (Some(path), _) => path.display().to_string(),
        (_, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
        _ => "nowhere".to_owned(),
    }
}

/// All of them, for a start that may fail.
pub(crate) fn copies() -> Result<Vec<Inherited>, Error> {
    let copy = |Inherited { name, socket, place, number, is_in_use }: &Inherited| {
        let (socket, place) = (socket.try_clone()?, place.clone());
        Ok(Inherited { name: name.clone(), socket, place, number: *number, is_in_use: *is_in_use })
    };
    let copies: io::Result<_> = received().iter().map(copy).collect();
    copies.map_err(Error::fcntl)
}

/// A start has succeeded, and has what it needs: the rest is closed.
pub(crate) fn let_go() {
    received().clear();
}

/// Nobody needs those of this name.
pub(super) fn close(name: &str) {
    received().retain(|one| one.name != name);
}

impl Inherited {
    /// Its name, if it has one.
    fn own_name(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| !NO_NAMES.contains(name))
    }

    pub(super) fn kind(&self) -> Result<Kind, &'static str> {
        kind(&self.socket)
    }
}

/// Its kind, or what it is instead, if no listener can be made of it.
pub(super) fn kind(socket: &OwnedFd) -> Result<Kind, &'static str> {
    let socket = SockRef::from(socket);
    let (Ok(kind), Ok(address)) = (socket.r#type(), socket.local_addr()) else { return Err("no socket") };
    let is_inet = matches!(address.domain(), Domain::IPV4 | Domain::IPV6);
    match kind {
        Type::STREAM if !is_inet && !address.is_unix() => Err("a stream socket of another family"),
        Type::STREAM if !sys::is_listening(&socket) => Err("a stream socket that does not listen (Accept=yes?)"),
        Type::STREAM if is_inet => Ok(Kind::Tcp),
        Type::STREAM => Ok(Kind::Unix),
        Type::DGRAM if is_inet => Ok(Kind::Udp),
        Type::DGRAM if address.is_unix() => Err("a Unix datagram socket"),
        _ => Err("a socket of another type"),
    }
}

/// `"http.socket" (descriptor 3), unix:/run/app.sock`
impl fmt::Display for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.own_name() {
            Some(name) => write!(f, "{name:?} (descriptor {}), ", self.number)?,
            None => write!(f, "descriptor {}, ", self.number)?,
        }
        match self.kind() {
            Ok(kind) => Labelled(&unnamed(kind), &self.place).fmt(f),
            Err(what) => f.write_str(what),
        }
    }
}

/// Matches sockets with entries. An entry with a name gets the sockets of that name, if there are some. All other entries get
/// one socket each, in order. Without entries, each socket is an entry of its own.
pub(super) fn match_entries(entries: &[Entry], sockets: Vec<Inherited>) -> Result<Vec<(Label, Vec<Inherited>)>, Error> {
    let came = list(&sockets);
    let misfit = |what: String| misfit(&what, entries, &came);
    if entries.is_empty() {
        return sockets.into_iter().map(|socket| as_it_comes(socket).map_err(misfit)).collect();
    }
    let has_its_name = |socket: &Inherited| entries.iter().any(|entry| entry.name.as_ref() == Some(&socket.name));
    let (mut by_name, in_order): (Vec<_>, Vec<_>) = sockets.into_iter().partition(has_its_name);
    let mut matched = Vec::new();
    for entry in entries {
        let (of_its_name, others) = by_name.into_iter().partition(|socket| entry.name.as_ref() == Some(&socket.name));
        by_name = others;
        matched.push((label(entry), of_its_name));
    }
    let mut unmatched: Vec<_> = matched.iter_mut().filter(|(_, sockets)| sockets.is_empty()).collect();
    if unmatched.len() != in_order.len() {
        return Err(misfit(format!("by name or in order, {} came for {}", in_order.len(), unmatched.len())));
    }
    for ((_, sockets), socket) in unmatched.iter_mut().zip(in_order) {
        sockets.push(socket);
    }
    for ((label, sockets), entry) in matched.iter().zip(entries) {
        if let Some(wrong) = sockets.iter().find(|socket| socket.kind() != Ok(label.kind)) {
            return Err(misfit(format!("for {entry} came {wrong}")));
        }
    }
    Ok(matched)
}

fn label(entry: &Entry) -> Label {
    Label { kind: entry.place.kind(), name: entry.name.clone() }
}

/// A socket as an entry of its own, with the name that it came with.
fn as_it_comes(socket: Inherited) -> Result<(Label, Vec<Inherited>), String> {
    let kind = socket.kind().map_err(|_| format!("nothing can be made of {socket}"))?;
    let name = socket.own_name().map(str::to_owned);
    Ok((Label { kind, name }, vec![socket]))
}

fn misfit(what: &str, entries: &[Entry], came: &str) -> Error {
    let expected = match entries {
        [] => "TCP and Unix stream sockets that listen, and UDP sockets".to_owned(),
        _ => list(entries),
    };
    Error::Environment {
        variable: COUNT.to_owned(),
        reason: format!(
            "the sockets that this program was started with are not those of listen: expected {expected}; came {came}; \
             {what}: change the .socket unit (FileDescriptorName= or systemd-socket-activate --fdname= names a socket as \
             its entry, others are taken in order), or listen, where PREFORK_LISTEN=none takes whatever comes"
        ),
    }
}

pub(super) fn list<T: fmt::Display>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(" + ")
}
