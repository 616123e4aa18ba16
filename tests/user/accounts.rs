//! A system with users and groups of this test's own.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::support::before_exec::before_exec;
use crate::support::own_path;
use crate::support::session::Session;

const PASSWD: &str = "\
root:x:0:0::/root:/bin/sh
app:x:4711:4712::/:/bin/sh
nobody:x:65534:65534::/:/bin/sh
";
const GROUP: &str = "\
root:x:0:
app:x:4712:
extra:x:4713:nobodyelse,app
more:x:4714:app
other:x:4715:
nogroup:x:65534:
";

/// Files in a folder of their own, which goes away with this.
pub struct Accounts(PathBuf);

impl Accounts {
    pub fn new(name: &str) -> Accounts {
        let folder = own_path(&format!("user-{name}"));
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("passwd"), PASSWD).expect("a file");
        fs::write(folder.join("group"), GROUP).expect("a file");
        Accounts(folder)
    }

    /// Starts a program that finds these users and groups on its system.
    pub fn start(&self, command: &mut Command) -> Option<Session> {
        self.try_start(command).map_err(|error| assert_eq!(error.kind(), io::ErrorKind::PermissionDenied)).ok()
    }

    pub fn try_start(&self, command: &mut Command) -> io::Result<Session> {
        let [passwd, group] = ["passwd", "group"].map(|file| self.0.join(file));
        before_exec(command, move || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
            mount(Some(&passwd), "/etc/passwd", None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(mount(Some(&group), "/etc/group", None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
        });
        Session::try_start(command, Stdio::piped())
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
