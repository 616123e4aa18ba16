//! The directory of the socket: locks on it, links to it, and what others put in its place.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;

use nix::unistd::geteuid;

use crate::support::{clean_command, fixture, own_path};
use crate::{Directory, NOBODY, both_answer, command, lock, refusal, skip, stale, starts, stops};

/// Who may read a directory can lock it.
#[test]
fn a_lock_on_the_directory_keeps_no_start_and_no_stop() {
    let directory = Directory::new("held");
    let _held = lock(&directory.0);
    for is_stale in [false, true] {
        if is_stale {
            stale(&directory);
        }
        let mut program = starts("unix", &directory.address());
        both_answer(&directory.socket());
        program.stop();
        assert_eq!(
            program.stderr.count("lock") + program.stderr.count("left behind"),
            0,
            "{:#?}",
            program.stderr.all()
        );
        assert_eq!(directory.files(), [""; 0]);
    }
}

#[test]
fn a_stop_waits_for_nothing_that_was_put_in_the_place_of_the_directory() {
    let directory = Directory::new("fifo");
    let moved = own_path("unix-fifo-moved");
    let make: [(&str, &dyn Fn()); 3] = [
        ("a FIFO", &|| nix::unistd::mkfifo(&directory.0, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO")),
        ("a file", &|| fs::write(&directory.0, "").expect("a file")),
        ("a loop", &|| symlink(&directory.0, &directory.0).expect("a link")),
    ];
    for (what, make) in make {
        let mut program = starts("unix", &directory.address());
        program.stdout.wait_for_nth("serves Unix", 2);
        fs::rename(&directory.0, &moved).expect("moved");
        make();
        program.stop();
        let left = format!("{} is left behind: ", directory.address());
        let lines: Vec<String> = program.stderr.all().into_iter().filter(|line| line.contains(&left)).collect();
        // The text is the C library's.
        let errno = if what == "a loop" { libc::ELOOP } else { libc::ENOTDIR };
        let reason = std::io::Error::from_raw_os_error(errno).to_string();
        assert!(lines.len() == 1 && lines[0].contains(&reason), "{what}: {lines:?}");
        fs::remove_file(&directory.0).expect("removed");
        fs::rename(&moved, &directory.0).expect("moved back");
        // The next start replaces what was left.
    }
}

#[test]
fn a_link_to_the_directory_is_followed_if_it_is_root_s_or_this_user_s() {
    let directory = Directory::new("links");
    let (real, link) = (directory.0.join("real"), directory.0.join("link"));
    fs::create_dir(&real).expect("a directory");
    symlink("real", &link).expect("a link");
    let address = format!("unix:{}/app.sock", link.display());
    let program = starts("unix", &address);
    both_answer(&real.join("app.sock"));
    let last = refusal(&mut command("unix", &format!("unix:{}/app.sock", real.display())), 1);
    assert!(last.contains(&format!("pid {} (", program.pid())), "{last}");
    stops(program);
    assert!(!real.join("app.sock").exists());
    if !geteuid().is_root() {
        skip!("only root can give a link away");
    }
    std::os::unix::fs::lchown(&link, Some(NOBODY), None).expect("it can be given");
    let last = refusal(&mut command("unix", &address), 1);
    assert!(
        last.contains("belongs to user 65534") && last.contains("write the path of the directory itself"),
        "{last}"
    );
    assert_eq!(fs::read_dir(&real).expect("the directory").count(), 0);
}

#[test]
fn a_directory_that_is_not_there_or_not_writable_is_said() {
    let directory = Directory::new("none");
    let last = refusal(&mut command("unix", &format!("unix:{}/none/app.sock", directory.0.display())), 1);
    assert!(last.contains("No such file") && last.contains("its directory must be there"), "{last}");
    if geteuid().is_root() {
        // What root may do proves nothing: as the user nobody, with a copy of the program that this user can reach.
        let copy = directory.0.join("program");
        fs::copy(fixture("listens-to-each-kind").get_program(), &copy).expect("a copy");
        fs::set_permissions(&directory.0, Permissions::from_mode(0o755)).expect("open to the user nobody");
        let mut program = clean_command(copy.to_str().expect("text"));
        program.args(["listens-to-each-kind", "unix", &directory.address()]).uid(NOBODY).gid(NOBODY);
        let last = refusal(&mut program, 1);
        assert!(last.contains("Permission denied") && last.contains("write to the directory"), "{last}");
    }
}
