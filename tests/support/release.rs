//! Binaries on disk that are replaced by others.
//!
//! Other processes write them: a binary that this one had open for writing could not be run as long as any child that
//! another test has just forked has it open, too (ETXTBSY).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::own_path;

/// A directory that ends with its owner.
pub struct Release(PathBuf);

impl Release {
    pub fn new() -> Release {
        let directory = own_path("release");
        fs::create_dir(&directory).expect("a directory");
        Release(directory)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a copy there, at once, in which the one text stands in the place of the other, which is as long.
    pub fn install(&self, name: &str, binary: &Path, text: &str, other: &str) {
        assert_eq!(text.len(), other.len());
        let unfinished = self.path(&format!("{name}.unfinished"));
        run(Command::new("cp").arg(binary).arg(&unfinished), b"");
        let places = places_of(text, binary);
        assert!(!places.is_empty(), "{text:?} is not in {}", binary.display());
        for place in places {
            let mut dd = Command::new("dd");
            dd.arg(format!("of={}", unfinished.display())).arg(format!("seek={place}"));
            run(dd.args(["bs=1", "conv=notrunc", "status=none"]), other.as_bytes());
        }
        run(Command::new("chmod").arg("755").arg(&unfinished), b"");
        fs::rename(&unfinished, self.path(name)).expect("it is renamed");
    }

    /// Lets a link point to what is there, at once.
    pub fn link(&self, name: &str, to: &str) {
        let unfinished = self.path(&format!("{name}.unfinished"));
        std::os::unix::fs::symlink(to, &unfinished).expect("a link");
        fs::rename(&unfinished, self.path(name)).expect("it is renamed");
    }
}

/// Where a text is in a file: grep(1) is faster than a test that was not optimized.
fn places_of(text: &str, file: &Path) -> Vec<u64> {
    let output = Command::new("grep").args(["-obaF", text]).arg(file).stdin(Stdio::null()).output().expect("grep(1)");
    let lines = output.stdout.split(|&byte| byte == b'\n');
    let places = lines.filter_map(|line| String::from_utf8_lossy(line).split_once(':')?.0.parse().ok());
    places.collect()
}

fn run(command: &mut Command, input: &[u8]) {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it is installed");
    // What it has not read, it will miss.
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    assert!(child.wait().expect("it ends").success(), "{command:?}");
}

impl Drop for Release {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
