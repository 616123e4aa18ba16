//! Root runs no binary that the workers' user may have put in its place.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::skip;
use crate::support::release::Release;
use crate::support::session::Session;
use crate::support::upgrading::install;
use crate::support::{Signal, clean_command};

/// A pool of root's whose workers run as `nobody`, and what of its directory belongs to which user.
struct Entrusted<'a> {
    /// What root does to the directory, the file or another path before the start.
    does: &'a dyn Fn(&Path),
    /// What the line says of it.
    says: &'a str,
}

const NOBODY: u32 = 65534;

/// A program that leaves a mark of who runs it, in the place of the binary.
fn put_in_place(directory: &Path) {
    let script = format!("#!/bin/sh\nid -u >> {}/ran-as\n", directory.display());
    // As the workers' user does it: with no right but to write there.
    let mut attacker = Command::new("setpriv");
    attacker.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "/bin/sh", "-c"]);
    attacker.arg("printf %s \"$1\" > app.new; chmod 755 app.new; mv -f app.new app").args(["sh", &script]);
    // Where it may not, nothing is there to be run.
    let _ = attacker.current_dir(directory).stderr(std::process::Stdio::null()).status();
}

#[test]
fn root_does_not_run_what_the_workers_user_may_have_put_in_place_of_the_binary() {
    if !nix::unistd::geteuid().is_root() {
        skip!("only root can have workers of another user");
    }
    let owned = |path: &Path| std::os::unix::fs::chown(path, Some(NOBODY), None).expect("root may");
    let grouped = |path: &Path| {
        std::os::unix::fs::chown(path, None, Some(NOBODY)).expect("root may");
        fs::set_permissions(path, Permissions::from_mode(0o775)).expect("root may");
    };
    let opened = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o757)).expect("root may");
    let owns_the_file = |path: &Path| owned(&path.join("app"));
    let opens_the_file = |path: &Path| opened(&path.join("app"));
    let safe = |_: &Path| {};
    let cases = [
        Entrusted { does: &owned, says: " belongs to this user: `chown root " },
        Entrusted { does: &grouped, says: "may be written by gid 65534, which workers have: `chmod g-w " },
        Entrusted { does: &opened, says: "(mode 757) may be written by every user: `chmod o-w " },
        Entrusted { does: &owns_the_file, says: "/app belongs to this user: `chown root " },
        Entrusted { does: &opens_the_file, says: "/app (mode 757) may be written by every user: `chmod o-w " },
        Entrusted { does: &safe, says: "" },
    ];
    for Entrusted { does, says } in cases {
        let release = Release::new();
        install(&release, "serves-1");
        let directory = release.path("srv");
        fs::create_dir(&directory).expect("a directory");
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).expect("root may");
        fs::rename(release.path("app"), directory.join("app")).expect("it is there");
        does(&directory);
        let mut command = clean_command("./app");
        command.current_dir(&directory).env("PWD", &directory).env("PREFORK_USER", "nobody");
        let mut program = Session::start(&mut command);
        program.stderr.wait_for("ready after");
        let warned =
            program.stderr.count("an upgrade (SIGUSR2) will be refused: uid 65534, which workers run as, may replace ");
        assert_eq!(warned, usize::from(!says.is_empty()), "{says:?}: {:#?}", program.stderr.all());
        put_in_place(&directory);
        program.signal(Signal::SIGUSR2);
        if says.is_empty() {
            program.stderr.wait_for("upgrade done after");
        } else {
            let line = program.stderr.wait_for("upgrade abandoned: uid 65534, which workers run as, may replace ");
            assert!(line.contains(says) && line.ends_with("; nothing has changed; SIGUSR2 tries again"), "{line}");
            assert_eq!(program.stderr.count("rehearsing"), 0);
        }
        assert!(!directory.join("ran-as").exists(), "root ran what the user nobody has made");
        program.stop();
        program.wait_until_empty();
    }
}

#[test]
fn a_place_that_the_path_or_the_loader_looks_at_first_is_one_where_the_binary_could_be() {
    if !nix::unistd::geteuid().is_root() {
        skip!("only root can have workers of another user");
    }
    let release = Release::new();
    install(&release, "serves-1");
    fs::create_dir(release.path("early")).expect("a directory");
    std::os::unix::fs::chown(release.path("early"), Some(NOBODY), None).expect("root may");
    let (first, early) = (release.path("").display().to_string(), release.path("early").display().to_string());
    for (path, library_path, user, says) in [
        (format!("{early}:{first}"), "", "nobody", Some("early/app: ")),
        (format!("{early}/not-there-yet:{first}"), "", "nobody", Some("early/not-there-yet/app: ")),
        (format!("{first}:{early}"), &*early, "nobody", Some("what LD_LIBRARY_PATH has loaded from ")),
        (format!("{first}:{early}"), "", "nobody", None),
        (format!("{early}:{first}"), &*early, "none", None),
    ] {
        let mut command = clean_command("/bin/sh");
        command.args(["-c", "exec app"]).env("PATH", format!("{path}:/usr/bin:/bin")).env("PREFORK_USER", user);
        if !library_path.is_empty() {
            command.env("LD_LIBRARY_PATH", library_path);
        }
        let mut program = Session::start(&mut command);
        program.stderr.wait_for("ready after");
        program.signal(Signal::SIGUSR2);
        match says {
            Some(says) => {
                let line = program.stderr.wait_for("upgrade abandoned: uid 65534, which workers run as, may replace ");
                assert!(line.contains(says) && line.contains("early belongs to this user"), "{line}");
            }
            None => drop(program.stderr.wait_for("upgrade done after")),
        }
        program.stop();
        program.wait_until_empty();
    }
}
