//! Whether workers of another user, or every user, may change which program an upgrade runs, with the supervisor's rights.
//!
//! A path is walked as the kernel walks it, from `/` on: each directory in which a part of it or of a link is looked up, and
//! in the end the file. It must not know what an upgrade is, nor who decides about it.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::Launch;
use crate::sys::{self, Gid, Uid};

/// How many links the kernel follows in one path.
const MOST_LINKS: usize = 40;
/// How many scripts may be each other's interpreters, and how many bytes of each the kernel reads.
const MOST_SCRIPTS: usize = 5;
const BYTES_OF_A_SCRIPT: u64 = 256;

/// What root, and the supervisor itself, must be safe from.
pub(crate) struct Workers {
    pub(crate) user: Uid,
    /// All of them.
    pub(crate) groups: Vec<Gid>,
    pub(crate) supervisor: Uid,
}

/// What decides who may write to a file or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rights {
    uid: u32,
    gid: u32,
    mode: u32,
    is_directory: bool,
    /// Its bits for the group are then the most that the list gives to any user.
    has_acl: bool,
}

/// Who may write to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// The workers' user owns it, and can give itself what its mode does not.
    Owner,
    Group,
    UserOnItsList,
    Everybody,
}

/// Who may put another file in the place of one that is looked up in this directory, or write to this file. `entry` is the
/// owner of what is looked up in a directory, where it is there.
fn writer(of: Rights, entry: Option<u32>, workers: &Workers) -> Option<Writer> {
    if of.uid == workers.user.as_raw() {
        return Some(Writer::Owner);
    }
    // In a directory for all users, only its owner, the entry's owner and root rename or remove an entry: unlink(2). A name
    // that is not there yet can be made by any user.
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

/// What a user may write to who should not.
#[derive(Debug, PartialEq, Eq)]
struct Weakness {
    path: PathBuf,
    rights: Rights,
    writer: Writer,
    /// What is looked up there, where everybody may write but only owners may replace.
    entry: Option<PathBuf>,
}

impl fmt::Display for Weakness {
    /// What is wrong, and what to do.
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

/// Why the next binary of this program, or code that it loads from where this one did, may be of the workers' making.
///
/// What was checked stays as it is: a user who could change it may write to a directory or file that was looked at, and so is
/// root, the supervisor's user, or an owner that is neither the workers' user nor a passer-by in a sticky directory. So it can
/// be executed by its path a moment later.
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

/// The weakness of a program's place or file, or of those of its interpreter, and which of them has it.
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

/// The program that runs this one, where it is a script.
fn interpreter(script: &Path) -> Option<PathBuf> {
    // A FIFO would have to be waited for.
    let script = fs::metadata(script).is_ok_and(|file| file.is_file()).then_some(script)?;
    let mut beginning = Vec::new();
    File::open(script).ok()?.take(BYTES_OF_A_SCRIPT).read_to_end(&mut beginning).ok()?;
    let line = beginning.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let name = line.split(|byte| b" \t".contains(byte)).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

/// What the dynamic loader takes before anything else, by the environment of the start: ld.so(8).
fn preloaded(launch: &Launch) -> impl Iterator<Item = (&'static str, PathBuf, bool)> {
    let lists = [("LD_LIBRARY_PATH", true), ("LD_PRELOAD", false), ("LD_AUDIT", false)];
    lists.into_iter().flat_map(move |(variable, is_directory)| {
        let value = launch.variable(variable).filter(|value| !value.is_empty());
        let entries = value.map_or_else(Vec::new, |value| {
            let separates = |byte: &u8| b":;".contains(byte) || !is_directory && *byte == b' ';
            value.as_bytes().split(separates).map(|entry| PathBuf::from(OsStr::from_bytes(entry))).collect()
        });
        // A library without a slash is looked for in the system's directories; an empty directory is the working one.
        let is_path = move |entry: &PathBuf| is_directory || entry.as_os_str().as_bytes().contains(&b'/');
        let entries = entries.into_iter().filter(is_path);
        entries.map(move |entry| (variable, launch.at(&entry), is_directory))
    })
}

/// Code that this process has from other files than its own: its libraries, wherever the loader found them.
fn loaded_libraries() -> Vec<PathBuf> {
    let own = fs::read_link("/proc/self/exe").unwrap_or_default();
    let maps = fs::read("/proc/self/maps").unwrap_or_default();
    let mut files: Vec<PathBuf> = maps.split(|&byte| byte == b'\n').filter_map(mapped_code).collect();
    files.sort();
    files.dedup();
    files.retain(|file| *file != own);
    files
}

/// The file in a line of /proc/PID/maps, where it is mapped to be executed and still there.
fn mapped_code(line: &[u8]) -> Option<PathBuf> {
    let rights = line.split(|&byte| byte == b' ').nth(1)?;
    let path = &line[line.iter().position(|&byte| byte == b'/')?..];
    let is_code = rights.contains(&b'x') && !path.ends_with(b" (deleted)");
    is_code.then(|| PathBuf::from(OsString::from_vec(path.to_vec())))
}

/// The first weakness on the way to a file, or in it; of a directory from which anything may be loaded, in that too.
fn weakness(path: &Path, is_directory: bool, workers: &Workers) -> Option<Weakness> {
    let mut here = PathBuf::from("/");
    let mut links = 0;
    let mut to_do: Vec<OsString> = parts(path).collect();
    while let Some(part) = to_do.pop() {
        match part.as_bytes() {
            b"/" => here = PathBuf::from("/"),
            // Here is no link, so this is the directory that the kernel goes up to.
            b".." => drop(here.pop()),
            _ => {
                let at = here.join(&part);
                let entry = fs::symlink_metadata(&at).ok();
                let found = weakness_at(&here, Some((&at, entry.as_ref())), workers);
                // Where nothing is there, nothing is run; the call that tries says so.
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

/// The last part first.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().rev().filter(|part| *part != Component::CurDir).map(|part| part.as_os_str().to_owned())
}

/// That of one file or directory. `entry` is what is looked up in a directory, and what is known of it.
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
