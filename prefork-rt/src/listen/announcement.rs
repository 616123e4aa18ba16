//! The variables that announce sockets to a process, and taking these sockets over: sd_listen_fds(3).
//!
//! It must not know which entries of `listen` the sockets are for.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::AsFd;

use super::as_bound::revive;
use super::inherited::Inherited;
use crate::error::Error;
use crate::logging;
use crate::sys;
use crate::trust;

const COUNT: &str = "LISTEN_FDS";
const PID: &str = "LISTEN_PID";
const NAMES: &str = "LISTEN_FDNAMES";
/// The number of LISTEN_PID's pidfd, since systemd 259.
const PIDFD: &str = "LISTEN_PIDFDID";
/// The first descriptor.
const FIRST: usize = sys::FIRST_LISTEN_FD as usize;

/// The variables that announce sockets to one process, as they were found.
#[derive(Default)]
pub(crate) struct Announcement {
    count: Option<OsString>,
    pid: Option<OsString>,
    names: Option<OsString>,
    pidfd: Option<OsString>,
}

/// The sockets that were announced, or why the announcement is ignored.
pub(crate) enum Announced {
    Sockets(Vec<Inherited>),
    Ignored(String),
}

impl Announcement {
    /// The variables, as `find` finds them.
    pub(crate) fn new(find: impl Fn(&str) -> Option<OsString>) -> Announcement {
        Announcement { count: find(COUNT), pid: find(PID), names: find(NAMES), pidfd: find(PIDFD) }
    }

    /// The names of all variables that are there, also of empty ones. Workers do not see them.
    pub(crate) fn variables(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for (name, value) in self.all() {
            if value.is_some() {
                names.push(name);
            }
        }
        names
    }

    /// Takes the sockets over, so that no program that is started from here on inherits them, too. An announcement
    /// without a process id is meant for this process: tools for developers leave the id out.
    pub(crate) fn take_sockets(&self) -> Result<Announced, Error> {
        let given = self.given();
        if given.is_empty() || !self.is_trusted() {
            return Ok(Announced::Sockets(Vec::new()));
        }
        let Some(count) = not_empty(&self.count) else {
            let given = given.join(", ");
            return Ok(Announced::Ignored(format!("ignored without {COUNT}, which announces sockets: {given}")));
        };
        if not_empty(&self.pid).is_some_and(|pid| pid.to_str().is_none_or(|pid| pid.parse::<u32>().is_err())) {
            return Err(self.unlike_the_sockets(&format_args!("{PID} is no process id")));
        }
        if let Some(why) = trust::names_another(PID, self.pid.as_deref()) {
            let count = count.to_string_lossy();
            return Ok(Announced::Ignored(format!(
                "{COUNT}={count} is ignored: {why}, or unset {PID}; listen is bound as it is written"
            )));
        }
        let number = match count.to_str().map(str::parse::<i32>) {
            Some(Ok(number @ 0..)) => number,
            _ => return Err(self.unlike_the_sockets(&format_args!("{COUNT} is no number of descriptors"))),
        };
        if number == 0 && not_empty(&self.names).is_some() {
            return Ok(Announced::Ignored(format!("{NAMES} is ignored: {COUNT}=0 announces no sockets")));
        }
        let sockets = sys::listen_fds(number).map_err(|error| self.unlike_the_sockets(&error))?;
        let names = self.names(sockets.len())?;
        let mut inherited = Vec::new();
        for (name, socket) in names.into_iter().zip(sockets) {
            inherited.push(listening_again(Inherited::new(name, FIRST + inherited.len(), socket)));
        }
        Ok(Announced::Sockets(inherited))
    }

    /// The variables that are ignored because this program has more rights than its caller.
    pub(crate) fn distrusted(&self) -> Vec<&'static str> {
        if self.is_trusted() { Vec::new() } else { self.given() }
    }

    /// Whether this program trusts its caller. With more rights than the caller, it does if LISTEN_PID is there.
    fn is_trusted(&self) -> bool {
        trust::in_options() || trust::in_sockets() && not_empty(&self.pid).is_some()
    }

    /// The names of the variables that have a value.
    fn given(&self) -> Vec<&'static str> {
        let mut given = Vec::new();
        for (name, value) in self.all() {
            if not_empty(value).is_some() {
                given.push(name);
            }
        }
        given
    }

    fn all(&self) -> [(&'static str, &Option<OsString>); 4] {
        [(COUNT, &self.count), (PID, &self.pid), (NAMES, &self.names), (PIDFD, &self.pidfd)]
    }

    /// The name of each socket: empty where LISTEN_FDNAMES is missing.
    fn names(&self, count: usize) -> Result<Vec<String>, Error> {
        let Some(names) = self.names.as_ref().filter(|_| count > 0) else { return Ok(vec![String::new(); count]) };
        let mut each = Vec::new();
        for name in names.to_string_lossy().split(':') {
            each.push(name.to_owned());
        }
        if each.len() == count {
            Ok(each)
        } else {
            Err(self.unlike_the_sockets(&format_args!("{} names came", each.len())))
        }
    }

    /// The error where the sockets are not as they were announced.
    fn unlike_the_sockets(&self, error: &dyn fmt::Display) -> Error {
        let mut values = Vec::new();
        for (name, value) in self.all() {
            match not_empty(value) {
                Some(value) if name != PIDFD => values.push(format!("{name}={}", value.to_string_lossy())),
                Some(_) | None => {}
            }
        }
        Error::Environment {
            variable: COUNT.to_owned(),
            reason: format!(
                "the sockets that are announced cannot be taken over: {error} ({}); {COUNT} must be the number of open \
                 descriptors from {FIRST} on, and {NAMES}, if there, must have a name for each: correct what starts this \
                 program, or unset {COUNT}",
                values.join(" ")
            ),
        }
    }
}

fn not_empty(value: &Option<OsString>) -> Option<&OsString> {
    value.as_ref().filter(|value| !value.is_empty())
}

fn listening_again(inherited: Inherited) -> Inherited {
    if revive(inherited.socket.as_fd()) {
        logging::warn(&format!(
            "{}, which this program was started with, did not listen, as after shutdown(2) by a worker of its last start: it \
             listens again",
            inherited.place
        ));
    }
    inherited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(variables: &[(&str, &str)]) -> Announcement {
        Announcement::new(|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn ignored(variables: &[(&str, &str)]) -> String {
        match announcement(variables).take_sockets() {
            Ok(Announced::Ignored(why)) => why,
            Ok(Announced::Sockets(sockets)) => panic!("{} sockets", sockets.len()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_announces_no_socket_is_named() {
        assert!(ignored(&[(NAMES, "web")]).ends_with("LISTEN_FDS, which announces sockets: LISTEN_FDNAMES"));
        assert!(ignored(&[(COUNT, "0"), (NAMES, "web")]).starts_with("LISTEN_FDNAMES is ignored"));
        assert!(
            ignored(&[(COUNT, "1"), (PID, "1")]).starts_with("LISTEN_FDS=1 is ignored: LISTEN_PID=1 names another")
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_repeats_it() {
        for (variables, why) in [
            (&[(COUNT, "x")][..], "LISTEN_FDS is no number of descriptors (LISTEN_FDS=x)"),
            (&[(COUNT, "-1")], "LISTEN_FDS is no number of descriptors (LISTEN_FDS=-1)"),
            (&[(COUNT, "1"), (PID, "me")], "LISTEN_PID is no process id (LISTEN_FDS=1 LISTEN_PID=me)"),
        ] {
            let error = announcement(variables).take_sockets().map(drop).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn empty_variables_announce_nothing_and_are_kept_from_workers() {
        let empty = announcement(&[(COUNT, ""), (NAMES, "")]);
        assert!(matches!(empty.take_sockets(), Ok(Announced::Sockets(sockets)) if sockets.is_empty()));
        assert_eq!(empty.variables(), [COUNT, NAMES]);
    }
}
