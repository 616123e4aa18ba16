//! Another user exchanges names, and holds locks, in the directory of a socket that belongs to that user.

use std::env;
use std::fs::{self, File, Permissions};

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::sys::{FileLock, attack};

const NOBODY: u32 = 65534;

/// A directory of the user `nobody` beside files of root's. Removed at the end.
struct Scene {
    base: PathBuf,
    directory: PathBuf,
}

impl Scene {
    fn new(test: &str) -> Option<Scene> {
        if fs::metadata("/proc/self").map_or(0, |own| own.uid()) != 0 {
            eprintln!("skipped: only root can be two users");
            return None;
        }
        let base = env::temp_dir().join(format!("prefork-unix-{test}-{}", process::id()));
        let directory = base.join("run");
        fs::create_dir_all(&directory).expect("a directory");
        chown(&directory, Some(NOBODY), Some(NOBODY)).expect("it can be given");
        Some(Scene { base, directory })
    }

    fn path(&self) -> PathBuf {
        self.directory.join("app.sock")
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.directory).expect("the directory");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// A file of root's that no other user may read.
struct Precious(PathBuf);

impl Precious {
    fn is_untouched(&self) -> bool {
        let found = fs::symlink_metadata(&self.0).expect("it is there");
        (found.mode() & 0o7777, found.uid(), found.gid()) == (0o600, 0, 0)
            && (!found.is_file() || fs::read(&self.0).expect("its content") == b"precious")
    }
}

fn bound(path: &Path, rights: &Rights) -> Result<(Socket, FileId), String> {
    let said = |Refusal { source, advice }| format!("{source}; {advice}");
    let (socket, _) = bind_now(path, rights, false, None).map_err(said)?;
    let own = files::take(path).expect("it is in the list");
    Ok((socket, own))
}

fn all_rights() -> Rights {
    Rights { mode: Some(0o666), owner: Some(NOBODY), group: Some(NOBODY) }
}

/// Binds and removes a socket in a directory whose owner exchanges names all the time. How often it was bound.
fn beside_an_attacker(scene: &Scene, rounds: u32) -> u32 {
    let precious = Precious(scene.base.join("precious"));
    fs::write(&precious.0, "precious").expect("a file");
    fs::set_permissions(&precious.0, Permissions::from_mode(0o600)).expect("its mode");
    let control = Precious(scene.base.join("control.sock"));
    let _control = UnixListener::bind(&control.0).expect("a socket");
    fs::set_permissions(&control.0, Permissions::from_mode(0o600)).expect("its mode");
    let (stop, started) = (AtomicBool::new(false), AtomicBool::new(false));
    let path = scene.path();
    thread::scope(|threads| {
        let attacker = threads.spawn(|| {
            assert!(attack::become_user(NOBODY), "root can become another user");
            let (directory, precious) = (scene.directory.clone(), [&precious.0, &control.0]);
            let mut attacker = Attacker { directory, precious, passes: 0, exchanged: 0 };
            started.store(true, Ordering::Relaxed);
            while !stop.load(Ordering::Relaxed) {
                attacker.exchange();
            }
            attacker.exchanged
        });
        while !started.load(Ordering::Relaxed) {
            assert!(!attacker.is_finished(), "the attacker has failed");
            thread::yield_now();
        }
        let mut count = 0;
        for round in 0..rounds {
            if let Ok((socket, file)) = bound(&path, &all_rights()) {
                count += 1;
                drop(socket);
                // What another user has put there stays; that is said elsewhere.
                let _ = files::remove(&path, file);
            }
            assert!(precious.is_untouched() && control.is_untouched(), "in round {round}");
        }
        stop.store(true, Ordering::Relaxed);
        let exchanged = attacker.join().expect("an attacker");
        eprintln!("{count} of {rounds} bound beside {exchanged} exchanges");
        assert!(exchanged > rounds / 50, "there was an attack: {exchanged} exchanges");
        count
    })
}

/// What the user `nobody` may do in its own directory.
struct Attacker<'a> {
    directory: PathBuf,
    /// A file and a socket of root's.
    precious: [&'a PathBuf; 2],
    passes: u32,
    exchanged: u32,
}

impl Attacker<'_> {
    /// Puts a bait in the place of each name that is there for a moment. The place of the socket is mostly left free,
    /// or nothing would be bound.
    fn exchange(&mut self) {
        self.passes += 1;
        let bait = self.bait();
        let names = fs::read_dir(&self.directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut names: Vec<_> = names.filter(|name| name.as_encoded_bytes().starts_with(b".app.sock")).collect();
        names.push(".app.sock.prefork".into());
        names.extend((self.passes % 16 == 0).then(|| "app.sock".into()));
        for name in names.iter().map(|name| self.directory.join(name)) {
            if attack::exchange(&bait, &name).is_ok() {
                self.exchanged += 1;
                (0..self.passes % 64).for_each(|_| std::hint::spin_loop());
                let _ = attack::exchange(&bait, &name);
            }
            self.remove_bait(&name);
        }
        let _ = fs::remove_file(&bait).or_else(|_| fs::remove_dir(&bait));
    }

    /// A link to a file or a directory of root's, a second name of a file of root's, where the system lets anyone make
    /// one (fs.protected_hardlinks = 0), or a directory.
    fn bait(&self) -> PathBuf {
        let bait = self.directory.join(format!("bait-{}", self.passes));
        let [file, socket] = self.precious;
        let made = match self.passes % 5 {
            0 => symlink(file, &bait),
            1 => symlink(socket, &bait),
            2 => fs::hard_link(socket, &bait).or_else(|_| symlink(socket, &bait)),
            3 => symlink(file.parent().expect("a directory"), &bait),
            _ => fs::create_dir(&bait),
        };
        made.expect("a bait");
        bait
    }

    fn remove_bait(&self, name: &Path) {
        let is_bait = |found: &fs::Metadata| found.is_symlink() || found.nlink() == 2 && !found.is_dir();
        if fs::symlink_metadata(name).is_ok_and(|found| is_bait(&found)) {
            let _ = fs::remove_file(name);
        } else if fs::symlink_metadata(name).is_ok_and(|found| found.uid() == NOBODY && found.is_dir()) {
            let _ = fs::remove_dir(name);
        }
    }
}

#[test]
fn no_file_of_another_user_changes_however_names_are_exchanged() {
    let Some(scene) = Scene::new("names") else { return };
    assert!(beside_an_attacker(&scene, 2_000) > 0);
}

#[test]
#[ignore = "takes half a minute"]
fn no_file_of_another_user_changes_in_100_000_binds() {
    let Some(scene) = Scene::new("many-names") else { return };
    assert!(beside_an_attacker(&scene, 100_000) > 0);
}

#[test]
fn what_another_user_locks_is_not_waited_for() {
    let Some(scene) = Scene::new("lock") else { return };
    let lock = FileLock::try_lock(File::open(&scene.directory).expect("a directory")).expect("it is free");
    let start = Instant::now();
    let (socket, file) = bound(&scene.path(), &Rights::default()).expect("it is bound");
    drop(socket);
    files::remove(&scene.path(), file).map_err(|refusal| refusal.source).expect("it is removed");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(scene.files(), [""; 0]);
    drop(lock);
}

#[test]
fn a_name_that_another_user_has_taken_is_not_needed() {
    let Some(scene) = Scene::new("taken") else { return };
    let taken = scene.directory.join(".app.sock.prefork");
    let make: [(&str, &dyn Fn()); 4] = [
        ("a file", &|| fs::write(&taken, "").expect("a file")),
        ("a link", &|| symlink(&scene.base, &taken).expect("a link")),
        ("a FIFO", &|| nix::unistd::mkfifo(&taken, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO")),
        ("a directory", &|| fs::create_dir(&taken).expect("a directory")),
    ];
    for (what, make) in make {
        make();
        std::os::unix::fs::lchown(&taken, Some(NOBODY), None).expect("it can be given");
        for is_stale in [false, true] {
            if is_stale {
                drop(UnixListener::bind(scene.path()).expect("a socket"));
            }
            let (socket, file) = bound(&scene.path(), &Rights::default()).expect(what);
            drop(socket);
            files::remove(&scene.path(), file).map_err(|refusal| refusal.source).expect("it is removed");
            assert_eq!(scene.files(), [".app.sock.prefork"], "{what}");
        }
        fs::remove_file(&taken).or_else(|_| fs::remove_dir(&taken)).expect("removed");
    }
}

#[test]
fn what_a_killed_start_has_left_goes_with_the_next() {
    let Some(scene) = Scene::new("left") else { return };
    let left = scene.directory.join(".app.sock.prefork");
    fs::create_dir(&left).expect("a directory");
    fs::set_permissions(&left, Permissions::from_mode(0o700)).expect("its mode");
    let place = Place::open(&scene.path()).map_err(|refusal| refusal.source).expect("a place");
    for name in [place.name_of_socket(), "old".into()] {
        drop(UnixListener::bind(left.join(name)).expect("a socket"));
    }
    let (socket, file) = bound(&scene.path(), &Rights::default()).expect("it is bound");
    assert_eq!(scene.files(), ["app.sock"]);
    drop(socket);
    files::remove(&scene.path(), file).map_err(|refusal| refusal.source).expect("it is removed");
    assert_eq!(scene.files(), [""; 0]);
}

/// Threads see each other's locks, as each opens the directory by itself.
#[test]
fn of_starts_at_once_one_has_the_place_with_a_lock_or_without() {
    let Some(scene) = Scene::new("at-once") else { return };
    for round in 0..40 {
        match round % 3 {
            0 => drop(UnixListener::bind(scene.path()).expect("a socket")),
            1 => fs::write(scene.directory.join(".app.sock.prefork"), "").expect("a file"),
            _ => {}
        }
        let winners: Vec<_> = thread::scope(|threads| {
            let starts: Vec<_> = (0..5)
                .map(|_| threads.spawn(|| bind_now(&scene.path(), &Rights::default(), false, None).ok()))
                .collect();
            starts.into_iter().filter_map(|start| start.join().expect("a start")).collect()
        });
        assert_eq!(winners.len(), 1, "in round {round}");
        let file = files::take(&scene.path());
        drop(winners);
        file.into_iter().for_each(|file| drop(files::remove(&scene.path(), file)));
        let _ = fs::remove_file(scene.directory.join(".app.sock.prefork"));
        assert_eq!(scene.files(), [""; 0]);
    }
}

#[test]
fn an_end_does_not_wait_for_what_is_not_a_directory() {
    let Some(scene) = Scene::new("end") else { return };
    let (path, moved) = (scene.path(), scene.base.join("moved"));
    let (socket, file) = bound(&path, &Rights::default()).expect("it is bound");
    drop(socket);
    fs::rename(&scene.directory, &moved).expect("moved");
    let make: [(&str, &dyn Fn()); 4] = [
        ("a FIFO", &|| nix::unistd::mkfifo(&scene.directory, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO")),
        ("a file", &|| fs::write(&scene.directory, "").expect("a file")),
        ("a loop", &|| symlink(&scene.directory, &scene.directory).expect("a link")),
        ("a link to a FIFO", &|| {
            nix::unistd::mkfifo(&scene.base.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
            symlink(scene.base.join("fifo"), &scene.directory).expect("a link");
        }),
    ];
    for (what, make) in make {
        make();
        let Err(Refusal { source, .. }) = files::remove(&path, file) else { panic!("{what} is not said") };
        assert!(matches!(source.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)), "{what}: {source}");
        fs::remove_file(&scene.directory).expect("removed");
    }
    fs::rename(&moved, &scene.directory).expect("moved back");
    files::remove(&path, file).map_err(|refusal| refusal.source).expect("it is removed");
    assert_eq!(scene.files(), [""; 0]);
}

/// Where another file has come into the place of the socket's, an upgrade changes neither.
#[test]
fn the_rights_of_the_socket_s_own_file_are_set_and_of_no_other() {
    let Some(scene) = Scene::new("rights") else { return };
    let (path, moved) = (scene.path(), scene.directory.join("moved"));
    let control = Precious(scene.base.join("control.sock"));
    let _control = UnixListener::bind(&control.0).expect("a socket");
    fs::set_permissions(&control.0, Permissions::from_mode(0o600)).expect("its mode");
    let (_socket, file) = bound(&path, &Rights { mode: Some(0o600), ..Rights::default() }).expect("it is bound");
    let text = path.to_str().expect("text").to_owned();
    let unix = UnixPath { path: text, mode: Some(0o666), owner: Some("nobody".to_owned()), group: None };
    let found =
        |path: &Path| fs::symlink_metadata(path).map(|found| (found.mode() & 0o777, found.uid())).expect("a file");
    fs::rename(&path, &moved).expect("moved");
    let baits: [(&str, &dyn Fn()); 3] = [
        ("a link", &|| symlink(&control.0, &path).expect("a link")),
        ("a second name", &|| fs::hard_link(&control.0, &path).expect("a name")),
        ("a link to its own file", &|| symlink(&moved, &path).expect("a link")),
    ];
    for (what, make) in baits {
        make();
        set_rights(&unix, Some(file));
        assert!(control.is_untouched(), "{what}");
        assert_eq!(found(&moved), (0o600, 0), "{what}");
        fs::remove_file(&path).expect("removed");
    }
    fs::rename(&moved, &path).expect("moved back");
    set_rights(&unix, None);
    assert_eq!(found(&path), (0o600, 0), "this process has forgotten that it is its own");
    set_rights(&unix, Some(file));
    assert_eq!(found(&path), (0o666, NOBODY));
}
