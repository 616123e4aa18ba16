//! Copies of a fixture that have more rights than their caller, the user nobody.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::geteuid;

use super::{Program, clean_command, fixture, own_path};

pub const NOBODY: u32 = 65534;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    SetUserId,
    FileCapabilities,
}

/// A program in a folder that the user nobody can read.
pub struct MoreRights {
    folder: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl MoreRights {
    /// A copy of this program, or why there is none here.
    pub fn of(program: &Command, rights: Rights) -> Result<MoreRights, String> {
        if !geteuid().is_root() {
            return Err("only root can give a program more rights than its caller's".to_owned());
        }
        let folder = own_path("more-rights");
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).expect("open to the user nobody");
        let mut copy = MoreRights { program: folder.join("program"), folder, arguments: Vec::new() };
        copy.put(&fixture("shows-its-environment"), rights)?;
        let mut shows = copy.command();
        let mut shows =
            Program::try_start(&mut shows, std::process::Stdio::null()).map_err(|error| error.to_string())?;
        shows.exit_code();
        if shows.stdout.count("AT_SECURE 1") == 0 {
            return Err(format!("the kernel gives no program in {} more rights", copy.folder.display()));
        }
        copy.put(program, rights)?;
        Ok(copy)
    }

    fn put(&mut self, program: &Command, rights: Rights) -> Result<(), String> {
        // A file that runs, or did a moment ago, cannot be written to.
        let _ = fs::remove_file(&self.program);
        // By another process: see `release.rs`.
        let copied = Command::new("cp").arg(program.get_program()).arg(&self.program).status();
        assert!(copied.is_ok_and(|status| status.success()), "a copy");
        self.arguments = program.get_args().map(OsStr::to_owned).collect();
        let mode = if rights == Rights::SetUserId { 0o4755 } else { 0o755 };
        fs::set_permissions(&self.program, PermissionsExt::from_mode(mode)).expect("a mode");
        if rights == Rights::FileCapabilities {
            let given = Command::new("setcap").arg("cap_net_bind_service=ep").arg(&self.program).output();
            if !given.is_ok_and(|given| given.status.success()) {
                return Err("setcap (Debian's package libcap2-bin) is not installed, or cannot".to_owned());
            }
        }
        Ok(())
    }

    /// The copy, run by the user of the test.
    pub fn program(&self) -> Command {
        let mut command = clean_command(self.program.to_str().expect("text"));
        command.args(&self.arguments);
        command
    }

    /// Has the user nobody run this.
    pub fn as_nobody(&self, mut command: Command) -> Command {
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        command
    }

    /// The copy, run by the user nobody.
    pub fn command(&self) -> Command {
        self.as_nobody(self.program())
    }
}

impl Drop for MoreRights {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
