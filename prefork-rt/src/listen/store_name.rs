//! The name of a socket in a service manager's descriptor store.
//!
//! It contains the entry of `listen`, as written, and for a Unix socket the identity of its file: no client could reach
//! the socket if the file is gone or belongs to another socket.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::label::without_name;
use super::unix;
use crate::sys::FileId;

/// The beginning of prefork's names, which no socket unit uses: `prefork admin=127.0.0.1%3A9000`.
const MARK: &str = "prefork ";
/// systemd takes no longer name, and none with a colon or a character that cannot be printed.
pub(super) const LONGEST: usize = 255;

/// How a listener that this process has bound is stored.
pub(super) struct Storable {
    pub(super) name: String,
    /// The path of a Unix socket.
    pub(super) path: Option<PathBuf>,
}

impl Storable {
    pub(super) fn inet(key: &str) -> Storable {
        Storable { name: name(key, None), path: None }
    }

    /// `None` where this process has made no file there, as in a rehearsal.
    pub(super) fn unix(key: &str, path: &str) -> Option<Storable> {
        Some(Storable::of_file(key, path, unix::own_file(Path::new(path))?))
    }

    /// For another socket of the same entry. `None` where this process has made no file for it.
    pub(super) fn again(self) -> Option<Storable> {
        let Storable { name, path } = self;
        let Some(path) = path else { return Some(Storable { name, path: None }) };
        let (entry, _) = name.rsplit_once(' ')?;
        Some(Storable { name: format!("{entry}{}", suffix(unix::own_file(&path)?)), path: Some(path) })
    }

    /// For a Unix socket that is stored under this name. `None` where its file was replaced.
    pub(super) fn unix_again(key: &str, path: &str, stored: &str) -> Option<Storable> {
        let file = file_id(stored)?;
        (unix::socket_at(Path::new(path)) == Some(file)).then(|| Storable::of_file(key, path, file))
    }

    fn of_file(key: &str, path: &str, file: FileId) -> Storable {
        Storable { name: name(key, Some(file)), path: Some(path.into()) }
    }
}

/// The name of an entry's socket in the store.
pub(super) fn name(key: &str, file: Option<FileId>) -> String {
    let mut name = MARK.to_owned();
    for byte in key.bytes() {
        // Writing to a string cannot fail.
        let _ = match byte {
            b':' | b'%' => write!(name, "%{byte:02X}"),
            _ if byte.is_ascii_graphic() => name.write_char(byte.into()),
            _ => write!(name, "%{byte:02X}"),
        };
    }
    if let Some(file) = file {
        name.push_str(&suffix(file));
    }
    name
}

/// The file of the Unix socket that is stored under this name.
pub(super) fn file_id(stored: &str) -> Option<FileId> {
    let (device, inode) = stored.rsplit_once(' ')?.1.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some((number(device)?, number(inode)?))
}

/// The path and the file of the Unix socket that is stored under this name for this entry of `listen`.
pub(super) fn file_of(stored: &str, entry: &str) -> Option<(PathBuf, FileId)> {
    let path = without_name(entry).strip_prefix("unix:")?;
    Some((path.into(), file_id(stored)?))
}

fn suffix((device, inode): FileId) -> String {
    format!(" {device:x}-{inode:x}")
}

/// Whether what is stored under this name was stored by prefork.
pub(super) fn is_ours(stored: &str) -> bool {
    stored.starts_with(MARK)
}

/// The entry of `listen` for which a socket was stored under this name.
pub(super) fn entry_of(stored: &str) -> Option<String> {
    let key = stored.strip_prefix(MARK)?.split(' ').next()?;
    let mut bytes = key.bytes();
    let mut entry = Vec::new();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => u8::try_from(hexadecimal(bytes.next()?)? * 16 + hexadecimal(bytes.next()?)?).ok()?,
            byte => byte,
        };
        entry.push(decoded);
    }
    String::from_utf8(entry).ok()
}

fn hexadecimal(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_and_have_no_character_that_a_store_refuses() {
        assert_eq!(name("admin=127.0.0.1:9000", None), "prefork admin=127.0.0.1%3A9000");
        let name = name("unix:/run/a b/100%\u{e4}\n.sock?mode=660", Some((0x1f, 0x2a)));
        assert_eq!(name, "prefork unix%3A/run/a%20b/100%25%C3%A4%0A.sock?mode=660 1f-2a");
        assert!(name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b':'));
    }

    #[test]
    fn a_name_says_which_file_it_is() {
        let name = name("local=unix:/run/a b.sock?mode=660", Some((0x1f, 0x2a)));
        assert_eq!(file_of(&name, "local=unix:/run/a b.sock"), Some(("/run/a b.sock".into(), (0x1f, 0x2a))));
        assert_eq!(file_of("prefork 127.0.0.1%3A80", "127.0.0.1:80"), None);
    }

    #[test]
    fn an_entry_can_be_read_from_its_name() {
        for (key, file) in [
            ("admin=127.0.0.1:9000", None),
            ("*:80", None),
            ("unix:/run/a b/100%\u{e4}\n.sock?mode=660", Some((0x1f, 0x2a))),
        ] {
            assert_eq!(entry_of(&name(key, file)).as_deref(), Some(key));
        }
        for foreign in ["http.socket", "prefork a%", "prefork a%2", "prefork a%zz", "prefork a%FF"] {
            assert_eq!(entry_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn what_differs_has_another_name() {
        let keys = ["a=[::1]:80", "a=[%3A:1]:80", "a=[::1]:80 ", "a =[::1]:80"];
        let mut names: Vec<String> = keys.iter().map(|key| name(key, None)).collect();
        names.extend([name("a", Some((1, 2))), name("a 1-2", None), name("a", Some((1, 3)))]);
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
