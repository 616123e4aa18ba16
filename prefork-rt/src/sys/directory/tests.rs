use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;

use super::*;

/// Removed at the end.
struct Own(PathBuf);

impl Own {
    fn new(test: &str) -> Own {
        let path = std::env::temp_dir().join(format!("prefork-directory-{test}-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Own(path.canonicalize().expect("a path"))
    }

    fn directory(&self, name: &str, owner: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir(&path).expect("a directory");
        chown(&path, Some(owner), None).expect("it can be given");
        path
    }

    fn link(&self, name: &str, target: &Path, owner: u32) -> PathBuf {
        let link = self.0.join(name);
        symlink(target, &link).expect("a link");
        std::os::unix::fs::lchown(&link, Some(owner), None).expect("it can be given");
        link
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const STRANGER: u32 = 65534;

fn opens(path: &Path) -> Result<PathBuf, io::Error> {
    Directory::open(path).map(|directory| directory.path().to_owned())
}

#[test]
fn a_path_leads_where_the_kernel_leads_it() {
    let own = Own::new("path");
    let real = own.directory("real", geteuid().as_raw());
    fs::create_dir(real.join("inner")).expect("a directory");
    let link = own.link("link", Path::new("./real"), geteuid().as_raw());
    let absolute = own.link("absolute", &real, geteuid().as_raw());
    for path in [&real, &link, &absolute, &real.join("inner/.."), &link.join("inner/../../real"), Path::new("/")] {
        assert_eq!(opens(path).expect("a directory"), path.canonicalize().expect("a path"), "{path:?}");
    }
    let itself = own.link("itself", Path::new("itself"), geteuid().as_raw());
    assert_eq!(opens(&itself).expect_err("a loop").raw_os_error(), Some(libc::ELOOP));
    fs::write(own.0.join("file"), "").expect("a file");
    assert_eq!(opens(&own.0.join("file")).expect_err("a file").raw_os_error(), Some(libc::ENOTDIR));
    assert_eq!(opens(&own.0.join("none")).expect_err("nothing").raw_os_error(), Some(libc::ENOENT));
    nix::unistd::mkfifo(&own.0.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    assert_eq!(opens(&own.0.join("fifo")).expect_err("a FIFO").raw_os_error(), Some(libc::ENOTDIR));
    assert_eq!(opens(&own.0.join("fifo/a")).expect_err("a FIFO").raw_os_error(), Some(libc::ENOTDIR));
}

#[test]
fn a_link_of_another_user_leads_to_that_user_s_directories_only() {
    if !geteuid().is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let own = Own::new("links");
    let (roots, theirs) = (own.directory("roots", 0), own.directory("theirs", STRANGER));
    for (name, target, owner, is_followed) in [
        ("root-to-theirs", &theirs, 0, true),
        ("root-to-roots", &roots, 0, true),
        ("theirs-to-theirs", &theirs, STRANGER, true),
        ("theirs-to-roots", &roots, STRANGER, false),
        ("another-s-to-theirs", &theirs, 1, false),
    ] {
        let link = own.link(name, target, owner);
        assert_eq!(opens(&link).is_ok(), is_followed, "{name}");
        assert_eq!(opens(&link.join(".")).is_ok(), is_followed, "{name}");
    }
    let error = opens(&own.0.join("theirs-to-roots")).expect_err("a link");
    assert!(error.get_ref().is_some_and(|error| error.is::<ForeignLink>()) && error.to_string().contains("65534"));
    // Any user may give a link of root's a second name, where the system lets them: link(2).
    let (link, second) = (own.0.join("root-to-roots"), own.0.join("second"));
    fs::hard_link(&link, &second).expect("a second name");
    assert!(opens(&second).expect_err("a link").to_string().contains("second name"));
}

#[test]
fn what_is_done_to_an_entry_is_done_to_the_file_that_was_looked_at() {
    let own = Own::new("entry");
    let directory = Directory::open(&own.0).expect("a directory");
    let [socket, other] = ["socket", "other"].map(|name| own.0.join(name));
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let entry = directory.entry(OsStr::new("socket")).expect("a look").expect("a file");
    fs::write(&other, "").expect("a file");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).expect("its mode");
    fs::rename(&socket, own.0.join("moved")).expect("moved");
    symlink(&other, &socket).expect("a link");
    entry.set_mode(0o666).expect("a mode");
    entry.set_owner(Some(geteuid().as_raw()), None).expect("its own owner");
    let mode = |path: &Path| fs::metadata(path).expect("a file").mode() & 0o7777;
    assert_eq!((mode(&other), mode(&own.0.join("moved"))), (0o600, 0o666));
    assert!(entry.is_socket());
    assert!(!directory.entry(OsStr::new("socket")).expect("a look").expect("a link").is_socket());
}

#[test]
fn a_name_that_is_not_free_is_not_taken() {
    let own = Own::new("free");
    let directory = Directory::open(&own.0).expect("a directory");
    fs::write(own.0.join("one"), "1").expect("a file");
    fs::write(own.0.join("two"), "2").expect("a file");
    let [one, two, three] = ["one", "two", "three"].map(OsStr::new);
    let error = directory.rename_to_free(one, &directory, two).expect_err("it is taken");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    directory.rename_to_free(one, &directory, three).expect("it is free");
    assert_eq!(
        (fs::read(own.0.join("two")).unwrap(), fs::read(own.0.join("three")).unwrap()),
        (b"2".into(), b"1".into())
    );
}

#[test]
fn a_directory_that_others_may_enter_is_not_private() {
    let own = Own::new("private");
    let directory = Directory::open(&own.0).expect("a directory");
    let name = OsStr::new("private");
    directory.make_private(name).expect("a directory");
    assert!(directory.open_private(name).expect("it opens").is_some());
    for mode in [0o701, 0o710, 0o755] {
        fs::set_permissions(own.0.join(name), fs::Permissions::from_mode(mode)).expect("its mode");
        assert!(directory.open_private(name).expect("it opens").is_none(), "{mode:o}");
    }
    symlink(".", own.0.join("link")).expect("a link");
    directory.open_private(OsStr::new("link")).expect_err("a link");
    nix::unistd::mkfifo(&own.0.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    directory.open_private(OsStr::new("fifo")).expect_err("a FIFO");
}
