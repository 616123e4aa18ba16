//! The arguments, variables and directory with which this program was started, and with which its next binary is
//! started.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::state::VARIABLE;

/// How this program was started, before its own code could change any of it.
#[derive(Clone, Default)]
pub(crate) struct Launch {
    pub(super) arguments: Vec<OsString>,
    pub(super) variables: Vec<(OsString, OsString)>,
    pub(super) directory: PathBuf,
}

impl Launch {
    pub(crate) fn of_this_program() -> Launch {
        let mut variables = Vec::new();
        for (name, value) in env::vars_os() {
            if name != VARIABLE {
                variables.push((name, value));
            }
        }
        Launch { arguments: env::args_os().collect(), variables, directory: logical_directory() }
    }

    /// The directory in which the program runs, and its next binary will.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path under which the program was started. Links in it are followed only when it is run, so that a link to
    /// the newest release leads there.
    pub(super) fn binary(&self) -> Result<PathBuf, String> {
        let name = self.arguments.first().ok_or("the program was started without a name for itself (argv[0])")?;
        let found = self.candidates().pop();
        found.filter(|file| has_slash(name) || is_executable(file)).ok_or_else(|| {
            format!("{} is found nowhere in the PATH that this program was started with", Path::new(name).display())
        })
    }

    /// The paths to search for the binary, up to the first that can be executed. If there is one, it is the last path.
    pub(super) fn candidates(&self) -> Vec<PathBuf> {
        let Some(name) = self.arguments.first() else { return Vec::new() };
        if has_slash(name) {
            return vec![self.at(name.as_ref())];
        }
        let path = self.variable("PATH").unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
        let mut candidates = Vec::new();
        for directory in env::split_paths(path) {
            let candidate = self.at(&directory.join(name));
            let is_found = is_executable(&candidate);
            candidates.push(candidate);
            if is_found {
                break;
            }
        }
        candidates
    }

    /// The value of a variable at the start.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.as_os_str())
    }

    /// A path, relative to the directory in which the program was started.
    pub(super) fn at(&self, path: &Path) -> PathBuf {
        // Collecting the components leaves out each `.`.
        self.directory.join(path).components().collect()
    }
}

fn has_slash(name: &OsStr) -> bool {
    name.as_encoded_bytes().contains(&b'/')
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The working directory as the shell that started this program calls it, with links in it: `pwd -L`.
fn logical_directory() -> PathBuf {
    let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let called = env::var_os("PWD").map(PathBuf::from).filter(|path| path.is_absolute());
    let called = called.filter(|path| identity(path).is_some_and(|called| Some(called) == identity(Path::new("."))));
    called.or_else(|| env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(name: &str, path: &str) -> Launch {
        let variables = vec![("PATH".into(), path.into())];
        Launch { arguments: vec![name.into(), "--flag".into()], variables, directory: "/srv/app/current".into() }
    }

    #[test]
    fn a_path_is_as_it_was_given_from_where_it_was_given() {
        for (name, binary) in [
            ("./app", "/srv/app/current/app"),
            ("bin/./app", "/srv/app/current/bin/app"),
            ("../app", "/srv/app/current/../app"),
            ("/opt/app", "/opt/app"),
        ] {
            assert_eq!(launch(name, "").binary(), Ok(PathBuf::from(binary)), "{name}");
        }
    }

    #[test]
    fn a_name_is_looked_for_in_the_path() {
        assert_eq!(launch("sh", "/nowhere:/bin:/usr/bin").binary(), Ok(PathBuf::from("/bin/sh")));
        assert!(launch("sh", "/nowhere").binary().is_err_and(|why| why.contains("sh is found nowhere")));
        assert!(Launch::default().binary().is_err());
    }
}
