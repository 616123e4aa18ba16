//! Whether workers of another user, or every user, may change which program an upgrade runs, with the supervisor's
//! rights.
//!
//! It walks a path as the kernel does, from `/` on, and checks each directory in which a part of the path or of a link
//! is looked up, and the file at the end. It must not know what an upgrade is, nor when one happens.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::launch::Launch;
use crate::sys::{self, Gid, Uid};

/// The number of links that the kernel follows in one path.
const MOST_LINKS: usize = 40;
/// The number of scripts that may be each other's interpreters, and the number of bytes of each that the kernel reads.
const MOST_SCRIPTS: usize = 5;
const BYTES_OF_A_SCRIPT: usize = 256;

/// The user and groups of workers that must not be able to change what the supervisor runs.
pub(crate) struct Workers {
    pub(crate) user: Uid,
    /// All groups of the user.
    pub(crate) groups: Vec<Gid>,
    pub(crate) supervisor: Uid,
}

/// The rights that decide which users may write to a file or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rights {
    uid: u32,
    gid: u32,
    mode: u32,
    is_directory: bool,
    /// The bits for the group are then the most that the list gives to any user.
    has_acl: bool,
}

/// The reason why workers may write to a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// The workers' user owns it, and can give itself what its mode does not.
    Owner,
    Group,
    UserOnItsList,
    Everybody,
}

/// Why workers may replace the file that is looked up in this directory, or write to this file, if they may. `entry` is
/// the owner of the file that is looked up in a directory, if it is there.
fn writer(of: Rights, entry: Option<u32>, workers: &Workers) -> Option<Writer> {
    if of.uid == workers.user.as_raw() {
        return Some(Writer::Owner);
    }
    // In a sticky directory, only its owner, the entry's owner and root may rename or remove an entry: unlink(2). Any
    // user may make a name that is not there yet.
    let is_sticky = of.is_directory && of.mode & 0o1000 != 0;
    let is_trusted = |owner: u32| owner == 0 || owner == workers.supervisor.as_raw() && !workers.is(owner);
    if is_sticky && entry.is_some_and(is_trusted) {
        return None;
    }
    let group_writes = of.mode & 0o020 != 0;
    match () {
        () if of.mode & 0o002 != 0 => Some(Writer::Everybody),
        () if group_writes && workers.groups.contains(&Gid::from_raw(of.gid)) => Some(Writer::Group),
        () if group_writes && of.has_acl => Some(Writer::UserOnItsList),
        () => None,
    }
}

impl Workers {
    fn is(&self, uid: u32) -> bool {
        self.user.as_raw() == uid
    }
}

/// A file or directory to which workers may write, and should not.
#[derive(Debug, PartialEq, Eq)]
struct Weakness {
    path: PathBuf,
    rights: Rights,
    writer: Writer,
    /// The file that is looked up in a sticky directory, where all users may write but only owners may replace.
    entry: Option<PathBuf>,
}

impl fmt::Display for Weakness {
    /// What is wrong, and what to do about it.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, mode) = (self.path.display(), self.rights.mode & 0o7777);
        match (self.writer, &self.entry) {
            (Writer::Owner, _) => write!(to, "{path} belongs to this user: `chown root {path}`"),
            (_, Some(entry)) => write!(
                to,
                "users may make files in {path} (mode {mode:o}), and {} is not one of root's there: move it to a \
                 directory of root's",
                entry.display()
            ),
            (Writer::Group, None) => {
                let gid = self.rights.gid;
                write!(to, "{path} (mode {mode:o}) may be written by gid {gid}, which workers have: `chmod g-w {path}`")
            }
            (Writer::UserOnItsList, None) => write!(
                to,
                "{path} has an access control list (`getfacl {path}`) that lets others write: `chmod g-w {path}`"
            ),
            (Writer::Everybody, None) => {
                write!(to, "{path} (mode {mode:o}) may be written by every user: `chmod o-w {path}`")
            }
        }
    }
}

/// An error if workers could have made the next binary of this program, or code that it loads from the places of this
/// one.
///
/// The result stays true: a user who could change it may write to a directory or file that was checked, and so is root,
/// the supervisor's user, or an owner that is not the workers' user. So the binary can be executed by its path a moment
/// later.
pub(crate) fn check(launch: &Launch, workers: &Workers) -> Result<(), String> {
    let refuse = |what: String, weakness: Weakness| {
        Err(format!("uid {}, which workers run as, may replace {what}: {weakness}", workers.user))
    };
    for candidate in launch.candidates() {
        if let Some((file, weakness)) = weakness_of_program(&candidate, launch.directory(), workers) {
            return refuse(file.display().to_string(), weakness);
        }
    }
    for (variable, path, is_directory) in preloaded(launch) {
        if let Some(weakness) = weakness(&path, is_directory, workers) {
            return refuse(format!("what {variable} has loaded from {}", path.display()), weakness);
        }
    }
    for library in loaded_libraries() {
        if let Some(weakness) = weakness(&library, false, workers) {
            return refuse(format!("{}, a library of this program", library.display()), weakness);
        }
    }
    Ok(())
}

/// The first weakness of a program or of its interpreters, and the file that has it.
fn weakness_of_program(program: &Path, directory: &Path, workers: &Workers) -> Option<(PathBuf, Weakness)> {
    let mut file = program.to_owned();
    for _ in 0..MOST_SCRIPTS {
        if let Some(weakness) = weakness(&file, false, workers) {
            return Some((file, weakness));
        }
        file = directory.join(interpreter(&file)?);
    }
    None
}

/// The program that runs this file, if it is a script.
fn interpreter(script: &Path) -> Option<PathBuf> {
    // Opening a FIFO would wait for a writer.
    let script = fs::metadata(script).is_ok_and(|file| file.is_file()).then_some(script)?;
    let mut beginning = [0; BYTES_OF_A_SCRIPT];
    let length = File::open(script).ok()?.read(&mut beginning).ok()?;
    let line = beginning[..length].strip_prefix(b"#!")?;
    let start = line.iter().position(|byte| !b" \t".contains(byte))?;
    let name = line[start..].split(|byte| b" \t\n".contains(byte)).next().filter(|name| !name.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

/// The paths that the dynamic loader takes first, from the variables at the start: ld.so(8).
fn preloaded(launch: &Launch) -> std::vec::IntoIter<(&'static str, PathBuf, bool)> {
    let mut preloaded = Vec::new();
    for (variable, is_directory) in [("LD_LIBRARY_PATH", true), ("LD_PRELOAD", false), ("LD_AUDIT", false)] {
        let value = launch.variable(variable).unwrap_or_default().as_bytes();
        if value.is_empty() {
            continue;
        }
        for entry in value.split(|byte| b":;".contains(byte) || !is_directory && *byte == b' ') {
            // A library without a slash is looked for in the system's directories; an empty directory means the
            // working directory.
            if is_directory || entry.contains(&b'/') {
                preloaded.push((variable, launch.at(Path::new(OsStr::from_bytes(entry))), is_directory));
            }
        }
    }
    preloaded.into_iter()
}

/// The libraries of this process, wherever the loader found them.
fn loaded_libraries() -> Vec<PathBuf> {
    let own = fs::read_link("/proc/self/exe").unwrap_or_default();
    let maps = fs::read("/proc/self/maps").unwrap_or_default();
    let mut files = Vec::new();
    for line in maps.split(|&byte| byte == b'\n') {
        match mapped_code(line) {
            // The parts of one library are beside each other.
            Some(file) if file != own && files.last() != Some(&file) => files.push(file),
            Some(_) | None => {}
        }
    }
    files
}

/// The file in a line of /proc/PID/maps, if it is mapped as code and still there.
fn mapped_code(line: &[u8]) -> Option<PathBuf> {
    let rights = line.split(|&byte| byte == b' ').nth(1)?;
    let path = &line[line.iter().position(|&byte| byte == b'/')?..];
    let is_code = rights.contains(&b'x') && !path.ends_with(b" (deleted)");
    is_code.then(|| PathBuf::from(OsString::from_vec(path.to_vec())))
}

/// The first weakness on the way to a file, or of the file itself. `is_directory`: of the directory itself, from which
/// any library may be loaded.
fn weakness(path: &Path, is_directory: bool, workers: &Workers) -> Option<Weakness> {
    let mut here = PathBuf::from("/");
    let mut links = 0;
    let mut to_do = parts(path);
    while let Some(part) = to_do.pop() {
        match part.as_bytes() {
            b"/" => here = PathBuf::from("/"),
            // `here` contains no links, so its parent is the directory that the kernel goes up to.
            b".." => drop(here.pop()),
            _ => {
                let at = here.join(&part);
                let entry = fs::symlink_metadata(&at).ok();
                let found = weakness_at(&here, Some((&at, entry.as_ref())), workers);
                // A missing file is not run; the call that tries says so.
                let (None, Some(entry)) = (&found, entry) else { return found };
                if entry.is_symlink() {
                    links += 1;
                    let target = fs::read_link(&at).ok().filter(|_| links <= MOST_LINKS)?;
                    to_do.extend(parts(&target));
                } else if entry.is_dir() {
                    here = at;
                } else {
                    return weakness_at(&at, None, workers);
                }
            }
        }
    }
    if is_directory { weakness_at(&here, None, workers) } else { None }
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let mut parts = Vec::new();
    for part in path.components().rev() {
        if part != Component::CurDir {
            parts.push(part.as_os_str().to_owned());
        }
    }
    parts
}

/// The weakness of one file or directory. `entry` is the file that is looked up in a directory, and its metadata if it
/// is there.
fn weakness_at(path: &Path, entry: Option<(&Path, Option<&Metadata>)>, workers: &Workers) -> Option<Weakness> {
    let file = fs::symlink_metadata(path).ok()?;
    let rights = Rights {
        uid: file.uid(),
        gid: file.gid(),
        mode: file.mode(),
        is_directory: file.is_dir(),
        has_acl: file.mode() & 0o020 != 0 && sys::has_acl(path),
    };
    let owner = entry.and_then(|(_, entry)| entry).map(Metadata::uid);
    let writer = writer(rights, owner, workers)?;
    let is_sticky = rights.is_directory && rights.mode & 0o1000 != 0;
    let entry = entry.filter(|_| is_sticky).map(|(entry, _)| entry.to_owned());
    Some(Weakness { path: path.to_owned(), rights, writer, entry })
}
