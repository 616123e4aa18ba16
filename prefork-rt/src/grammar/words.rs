//! Options that are one of two words.
//!
//! It must not know what the words change.

use std::fmt;

/// Which workers are replaced when they end by themselves: what `Prefork::restart` takes.
///
/// As text it is the word of the option: `Display` prints it, and `FromStr` reads it.
///
/// ```
/// use prefork_rt::{Prefork, Restart};
///
/// # fn main() -> Result<(), prefork_rt::UnknownWord> {
/// let restart: Restart = "always".parse()?;
/// assert_eq!(restart, Restart::Always);
/// let builder = Prefork::new().restart(restart);
/// # drop(builder);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Restart {
    /// Those that end abnormally; one that exits with status 0 has finished. In strings: `"on-failure"`.
    #[default]
    OnFailure,
    /// Those that exit with status 0 too, which is not counted as a restart. In strings: `"always"`.
    Always,
}

/// In which order a reload starts the new worker and stops the old one: what `Prefork::reload` takes.
///
/// As text it is the word of the option: `Display` prints it, and `FromStr` reads it.
///
/// ```
/// use prefork_rt::{Prefork, Reload};
///
/// // Each worker owns a file that is named after its task id, so that two at once would do harm.
/// let builder = Prefork::new().reload(Reload::Exclusive);
/// assert_eq!(Reload::Exclusive.to_string(), "exclusive");
/// # drop(builder);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reload {
    /// The new one is ready before the old one is told to stop. In strings: `"overlap"`.
    #[default]
    Overlap,
    /// The old one has ended before the new one is started, so that no two live workers have one task id. In strings:
    /// `"exclusive"`.
    Exclusive,
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Restart::OnFailure => "on-failure",
            Restart::Always => "always",
        })
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Reload::Overlap => "overlap",
            Reload::Exclusive => "exclusive",
        })
    }
}

/// `"on-failure"` or `"always"`.
pub(crate) fn restart(text: &str) -> Result<Restart, String> {
    match text {
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        "never" | "no" | "none" | "off" | "false" => Err(format!(
            "{text:?} is not accepted: to replace no worker, leave this out and set max_restarts to 0, which ends the \
             pool at the first abnormal end (here: \"on-failure\" or \"always\")"
        )),
        _ => Err(format!(
            "{text:?} is not accepted: write \"on-failure\" to replace workers that end abnormally, or \"always\" to \
             replace those that finish with status 0 too"
        )),
    }
}

/// `"overlap"` or `"exclusive"`.
pub(crate) fn reload(text: &str) -> Result<Reload, String> {
    match text {
        "overlap" => Ok(Reload::Overlap),
        "exclusive" => Ok(Reload::Exclusive),
        _ => Err(format!(
            "{text:?} is not accepted: write \"overlap\" to start the new worker first, or \"exclusive\" to stop the \
             old one first"
        )),
    }
}

/// `"true"` or `"false"`.
pub(crate) fn reuse_port(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!(
            "{text:?} is not accepted: write true for one socket per worker and address, or false for sockets that all \
             workers share"
        )),
    }
}

/// `"true"` or `"false"`.
pub(crate) fn no_new_privs(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!(
            "{text:?} is not accepted: write true for workers that gain no rights by what they execute, or false"
        )),
    }
}

/// `"true"` or `"false"`.
pub(crate) fn huge_pages(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!(
            "{text:?} is not accepted: write true to move large data into huge pages before the first fork, or false to \
             leave it where it is"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_and_reload_are_one_of_two_words() {
        assert_eq!(restart("on-failure"), Ok(Restart::OnFailure));
        assert_eq!(restart("always"), Ok(Restart::Always));
        assert_eq!(reload("overlap"), Ok(Reload::Overlap));
        assert_eq!(reload("exclusive"), Ok(Reload::Exclusive));
        for bad in ["", "never", "Always", "on_failure", "none"] {
            assert!(restart(bad).unwrap_err().contains("\"always\""), "{bad:?}");
            assert!(reload(bad).unwrap_err().contains("\"overlap\""), "{bad:?}");
        }
    }
}
