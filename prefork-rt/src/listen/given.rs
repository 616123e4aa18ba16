//! The listeners that a worker was given: the body takes them by kind or name, and the errors say what there is
//! instead.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::label::Label;
use super::listener::Listener;
use super::unix;
use crate::error::Error;
use crate::grammar::Kind;
use crate::zeroed_option::ZeroedOption;

/// What an argument of `main`, or a call, asks for.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub(crate) kind: Kind,
    /// All sockets of the kind or name, where `false` asks for the only one.
    pub(crate) all: bool,
    pub(crate) nonblocking: bool,
}

static GIVEN: Mutex<ZeroedOption<Vec<Listener>>> = Mutex::new(ZeroedOption::None);

fn given() -> MutexGuard<'static, ZeroedOption<Vec<Listener>>> {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a worker its listeners.
pub(super) fn give(listeners: Vec<Listener>) {
    *given() = ZeroedOption::Some(listeners);
}

/// At the end of this process: removes the files of the Unix sockets that it has made, if any. Closes the listeners
/// that the body has not taken before, as a file is removed only where no process listens.
pub(crate) fn remove_files() {
    if unix::has_made_files() {
        drop(given().take());
        unix::remove_files();
    }
}

/// Takes the only socket of a kind or name, or all of them. Each can be taken once.
pub(crate) fn take(wanted: Wanted, name: Option<&str>) -> Result<Vec<OwnedFd>, Error> {
    let mut given = given();
    let given = given.get_or_insert_with(Vec::new);
    let mut labels: Vec<&Label> = Vec::new();
    for listener in given.iter() {
        labels.push(&listener.label);
    }
    check(&labels, wanted, name)?;
    let mut sockets = Vec::new();
    for listener in given {
        if !matches(&listener.label, wanted, name) {
            continue;
        }
        if let Some(socket) = listener.take() {
            sockets.push(socket);
        }
    }
    if sockets.is_empty() { Err(argument(taken(wanted, name))) } else { Ok(sockets) }
}

fn matches(label: &Label, wanted: Wanted, name: Option<&str>) -> bool {
    label.kind == wanted.kind && name.is_none_or(|name| label.name.as_deref() == Some(name))
}

/// Whether the listeners with these labels include what is wanted.
pub(crate) fn check(labels: &[&Label], wanted: Wanted, name: Option<&str>) -> Result<(), Error> {
    let count = labels.iter().filter(|label| matches(label, wanted, name)).count();
    match (count, name) {
        (0, Some(name)) => Err(argument(nothing_of_the_name(labels, wanted.kind, name))),
        (0, None) => Err(argument(nothing_of_the_kind(wanted.kind, labels.is_empty()))),
        (2.., _) if !wanted.all => Err(argument(too_many(wanted.kind, count, name))),
        _ => Ok(()),
    }
}

fn argument(reason: String) -> Error {
    Error::Argument { reason }
}

fn nothing_of_the_kind(kind: Kind, nothing_at_all: bool) -> String {
    let (ty, example) = (kind.type_name(), kind.example());
    let missing = match nothing_at_all {
        true => "nothing is listened on".to_owned(),
        // There are others, so the text says which kind is missing.
        false if kind == Kind::Tcp => "listen has no TCP address".to_owned(),
        false => format!("listen has no {}", kind.noun()),
    };
    format!(
        "a {ty} is asked for, but {missing}: give {}, for example listen = {example:?} or PREFORK_LISTEN={example}",
        kind.one()
    )
}

fn nothing_of_the_name(labels: &[&Label], kind: Kind, name: &str) -> String {
    let ty = kind.type_name();
    if let Some(other) = labels.iter().find(|label| label.name.as_deref() == Some(name)) {
        let other = other.kind;
        return format!(
            "a {ty} called {name:?} is asked for, but in listen that is {}: ask for a {}, or write {}",
            other.one(),
            other.type_name(),
            format_args!("\"{name}={}\"", kind.example()),
        );
    }
    let mut names: Vec<&str> = Vec::new();
    for name in labels.iter().filter_map(|label| label.name.as_deref()) {
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    let names = if names.is_empty() { "no names".to_owned() } else { format!("the names {}", names.join(", ")) };
    format!(
        "a {ty} called {name:?} is asked for, but listen has {names}: name the address, for example \"{name}={}\"",
        kind.example()
    )
}

fn too_many(kind: Kind, count: usize, name: Option<&str>) -> String {
    let (ty, counted) = (kind.type_name(), counted(kind, count));
    match name {
        Some(name) => format!(
            "a {ty} called {name:?} is asked for, but there are {counted} of that name: ask for Vec<{ty}>, or give one IP address"
        ),
        None => format!(
            "a {ty} is asked for, but listen has {counted}: ask for Vec<{ty}>, or for each by its name with \
             Worker::listener, or listen on one {}",
            kind.noun()
        ),
    }
}

/// "2 addresses".
fn counted(kind: Kind, count: usize) -> String {
    let plural = if kind == Kind::Unix { "s" } else { "es" };
    format!("{count} {}{}", kind.noun(), if count == 1 { "" } else { plural })
}

fn taken(wanted: Wanted, name: Option<&str>) -> String {
    let called = name.map(|name| format!(" called {name:?}")).unwrap_or_default();
    format!(
        "the {}{called} was given before in this worker: ask for it once, and use try_clone() for a second handle",
        wanted.kind.type_name()
    )
}
