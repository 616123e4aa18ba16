//! Which entry of `listen` each socket that this process was started with takes the place of.

use std::fmt;

use super::inherited::Inherited;
use super::label::Label;
use crate::error::Error;
use crate::grammar::Entry;

/// Matches sockets with entries. An entry with a name gets the sockets of that name, if there are some. All other
/// entries get one socket each, in order. Without entries, each socket is an entry of its own.
pub(super) fn match_entries(entries: &[Entry], sockets: Vec<Inherited>) -> Result<Vec<(Label, Vec<Inherited>)>, Error> {
    let came = list(&sockets);
    let misfit = |what: String| misfit(&what, entries, &came);
    if entries.is_empty() {
        let mut each = Vec::new();
        for socket in sockets {
            each.push(as_it_comes(socket).map_err(misfit)?);
        }
        return Ok(each);
    }
    let (mut matched, mut in_order) = (Vec::new(), Vec::new());
    for entry in entries {
        matched.push((label(entry), Vec::new()));
    }
    for socket in sockets {
        match matched.iter_mut().find(|(label, _)| label.name.as_ref() == Some(&socket.name)) {
            Some((_, of_its_name)) => of_its_name.push(socket),
            None => in_order.push(socket),
        }
    }
    let unmatched = matched.iter().filter(|(_, sockets)| sockets.is_empty()).count();
    if unmatched != in_order.len() {
        return Err(misfit(format!("by name or in order, {} came for {unmatched}", in_order.len())));
    }
    let mut in_order = in_order.into_iter();
    for (_, sockets) in &mut matched {
        if sockets.is_empty() {
            if let Some(socket) = in_order.next() {
                sockets.push(socket);
            }
        }
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
        variable: "LISTEN_FDS".to_owned(),
        reason: format!(
            "the sockets that this program was started with are not those of listen: expected {expected}; came {came}; \
             {what}: change the .socket unit (FileDescriptorName= or systemd-socket-activate --fdname= names a socket as \
             its entry, others are taken in order), or listen, where PREFORK_LISTEN=none takes whatever comes"
        ),
    }
}

/// The sockets or entries in one line.
pub(super) fn list<T: fmt::Display>(all: &[T]) -> String {
    let mut texts = Vec::new();
    for one in all {
        texts.push(one.to_string());
    }
    texts.join(" + ")
}
