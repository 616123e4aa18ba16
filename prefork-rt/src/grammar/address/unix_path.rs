//! A Unix socket's file, as an entry of `listen` writes it.
//!
//! It must not know the file system: only the run can tell what is there.

use crate::grammar::number::octal;

/// With a null byte at the end, this is all that an address has room for on Linux, and clients connect by the path.
/// Other systems have less, which the start finds: a macro runs on a host that need not be the target.
pub(super) const LONGEST_PATH: usize = 107;

/// A Unix socket's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPath {
    pub(crate) path: String,
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<String>,
    pub(crate) group: Option<String>,
}

/// An absolute path, and after a question mark what becomes of the file: `/run/app.sock?mode=660&owner=www-data`.
pub(super) fn unix_path(text: &str, whole: &str) -> Result<UnixPath, String> {
    let (path, parameters) = text.split_once('?').map_or((text, None), |(path, rest)| (path, Some(rest)));
    if path.is_empty() {
        return Err(format!("{whole:?} has no path: write for example \"unix:/run/app.sock\""));
    }
    if !path.starts_with('/') {
        return Err(format!("{whole:?} is not an absolute path: write for example \"unix:/run/app.sock\""));
    }
    if matches!(path.rsplit('/').next(), Some("" | "." | "..")) {
        return Err(format!(
            "{whole:?} is a directory's path: write the name of a file in it, for example \"unix:/run/app.sock\""
        ));
    }
    if path.bytes().any(|byte| byte == 0) {
        return Err(format!("{whole:?} has a null character: write the path without it"));
    }
    // As in `unix:///run/app.sock`.
    let path = format!("/{}", path.trim_start_matches('/'));
    if path.len() > LONGEST_PATH {
        return Err(format!(
            "{path:?} has {} bytes, and the path of a socket has room for {LONGEST_PATH}: choose a shorter one",
            path.len()
        ));
    }
    let mut unix = UnixPath { path, mode: None, owner: None, group: None };
    if let Some(parameters) = parameters {
        for one in parameters.split('&') {
            unix.set(one, whole)?;
        }
    }
    Ok(unix)
}

impl UnixPath {
    fn set(&mut self, parameter: &str, whole: &str) -> Result<(), String> {
        const HOW: &str =
            "write mode, owner or group, for example \"unix:/run/app.sock?mode=660&owner=www-data&group=www-data\"";
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let twice = match name {
            "mode" => self.mode.replace(mode(value, whole)?).is_some(),
            "owner" | "group" if value.is_empty() => return Err(format!("{whole:?} has no value for {name:?}: {HOW}")),
            "owner" => self.owner.replace(value.to_owned()).is_some(),
            "group" => self.group.replace(value.to_owned()).is_some(),
            "" => return Err(format!("{whole:?} has an empty parameter: {HOW}")),
            _ => return Err(format!("{whole:?} has an unknown parameter {name:?}: {HOW}")),
        };
        if twice { Err(format!("{whole:?} has the parameter {name:?} twice: keep one")) } else { Ok(()) }
    }
}

fn mode(text: &str, whole: &str) -> Result<u32, String> {
    octal(text).ok_or_else(|| {
        format!(
            "{whole:?} has the mode {text:?}, which is not an octal number up to 777: write for example \"mode=660\""
        )
    })
}
