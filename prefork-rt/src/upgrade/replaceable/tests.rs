use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const APP: u32 = 4711;
const DEPLOY: u32 = 1001;

fn workers(supervisor: u32) -> Workers {
    let groups = [4711, 33].map(Gid::from_raw).to_vec();
    Workers { user: Uid::from_raw(APP), groups, supervisor: Uid::from_raw(supervisor) }
}

fn file(uid: u32, gid: u32, mode: u32) -> Rights {
    Rights { uid, gid, mode, is_directory: false, has_acl: false }
}

fn directory(uid: u32, gid: u32, mode: u32) -> Rights {
    Rights { is_directory: true, ..file(uid, gid, mode) }
}

#[test]
fn a_file_is_written_by_its_owner_a_group_of_the_workers_and_everybody() {
    for (rights, expected) in [
        (file(0, 0, 0o755), None),
        (file(DEPLOY, DEPLOY, 0o775), None),
        (file(APP, 0, 0o444), Some(Writer::Owner)),
        (file(0, 33, 0o755), None),
        (file(0, 33, 0o775), Some(Writer::Group)),
        (file(0, 0, 0o757), Some(Writer::Everybody)),
        (file(0, 0, 0o1777), Some(Writer::Everybody)),
        (Rights { has_acl: true, ..file(0, 0, 0o755) }, None),
        (Rights { has_acl: true, ..file(0, 0, 0o775) }, Some(Writer::UserOnItsList)),
    ] {
        assert_eq!(writer(rights, None, &workers(0)), expected, "{rights:?}");
        assert_eq!(
            writer(Rights { is_directory: rights.mode & 0o1000 == 0, ..rights }, Some(0), &workers(0)),
            expected
        );
    }
}

#[test]
fn in_a_sticky_directory_what_root_or_the_supervisor_s_user_has_stays() {
    let everybody = Some(Writer::Everybody);
    for (directory, entry, supervisor, expected) in [
        (directory(0, 0, 0o1777), Some(0), 0, None),
        (directory(0, 0, 0o1777), Some(DEPLOY), DEPLOY, None),
        (directory(0, 0, 0o1777), Some(DEPLOY), 0, everybody),
        (directory(0, 0, 0o1777), Some(APP), 0, everybody),
        (directory(0, 0, 0o1777), Some(APP), APP, everybody),
        (directory(0, 0, 0o1777), None, 0, everybody),
        (directory(0, 0, 0o1755), None, 0, None),
        (directory(0, 33, 0o1775), Some(DEPLOY), 0, Some(Writer::Group)),
        (directory(APP, 0, 0o1777), Some(0), 0, Some(Writer::Owner)),
    ] {
        assert_eq!(writer(directory, entry, &workers(supervisor)), expected, "{directory:?} {entry:?}");
    }
}

struct Tree(PathBuf);

impl Tree {
    /// In a directory for all users, so that these tests are made for root and for others.
    fn new(name: &str) -> Tree {
        let tree = Tree(std::env::temp_dir().join(format!("prefork-replaceable-{name}-{}", std::process::id())));
        for directory in ["", "bin", "open", "open/closed"] {
            fs::create_dir(tree.at(directory)).expect("a directory");
            tree.set(directory, 0o755);
        }
        fs::write(tree.at("bin/app"), "\x7fELF").expect("a file");
        tree.set("bin/app", 0o755);
        tree.set("open", 0o777);
        tree
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn set(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), Permissions::from_mode(mode)).expect("it is ours");
    }

    /// Which of its own directories or files has a weakness on the way to this path.
    fn weak(&self, path: &str, is_directory: bool) -> Option<PathBuf> {
        let supervisor = sys::geteuid();
        let found = weakness(&self.at(path), is_directory, &Workers { supervisor, ..workers(0) })?;
        Some(found.path.strip_prefix(&self.0).expect("it is in the tree").to_owned())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_directory_on_the_way_counts() {
    let tree = Tree::new("way");
    let open = Some(PathBuf::from("open"));
    symlink("../bin/app", tree.at("open/link")).expect("a link");
    symlink("open/link", tree.at("bin/../through")).expect("a link");
    symlink(tree.at("bin/app"), tree.at("absolute")).expect("a link");
    symlink("loop", tree.at("loop")).expect("a link");
    for (path, expected) in [
        ("bin/app", None),
        ("bin/../bin/./app", None),
        ("absolute", None),
        ("bin/nothing", None),
        ("nothing/app", None),
        ("loop", None),
        ("open/app", open.clone()),
        ("open/closed/app", open.clone()),
        ("open/link", open.clone()),
        ("through", open.clone()),
        ("open/../bin/app", None),
    ] {
        assert_eq!(tree.weak(path, false), expected, "{path}");
    }
    assert_eq!((tree.weak("bin", true), tree.weak("open/closed", true)), (None, open));
    tree.set("open", 0o1777);
    assert_eq!(tree.weak("open/link", false), None, "it is ours");
    assert_eq!(tree.weak("open/app", false), Some("open".into()), "any user could make it");
    assert_eq!(tree.weak("open", true), Some("open".into()));
    tree.set("bin/app", 0o757);
    assert_eq!(tree.weak("through", false), Some("bin/app".into()));
}

#[test]
fn a_script_is_as_safe_as_its_interpreter() {
    let tree = Tree::new("script");
    fs::write(tree.at("bin/script"), "#! \topen/closed/sh -e\necho").expect("a file");
    let found = |name: &str| weakness_of_program(&tree.at(name), &tree.0, &workers(sys::geteuid().as_raw()));
    assert_eq!(found("bin/script").map(|(file, _)| file), Some(tree.at("open/closed/sh")));
    assert_eq!(found("bin/app").map(drop), None);
    fs::write(tree.at("bin/script"), format!("#!{}", tree.at("bin/script").display())).expect("a file");
    assert_eq!(found("bin/script").map(drop), None, "its own interpreter is no program at all");
}

#[test]
fn libraries_are_found_where_they_are_mapped() {
    let line = |text: &str| mapped_code(text.as_bytes());
    let mapped = "7f0-7f1 r-xp 00000000 fe:00 1234       /usr/lib/lib with space.so";
    assert_eq!(line(mapped), Some("/usr/lib/lib with space.so".into()));
    for other in ["", &mapped.replace("r-x", "r--"), &format!("{mapped} (deleted)"), "7f0-7f1 r-xp 0 00:00 0 [vdso]"] {
        assert_eq!(line(other), None, "{other}");
    }
}

#[test]
fn the_loader_s_variables_are_read_as_the_loader_reads_them() {
    let launch = |variable: &str, value: &str| Launch {
        arguments: Vec::new(),
        variables: vec![(variable.into(), value.into())],
        directory: "/srv".into(),
    };
    let read =
        |variable: &str, value: &str| preloaded(&launch(variable, value)).map(|(_, path, _)| path).collect::<Vec<_>>();
    assert_eq!(read("LD_LIBRARY_PATH", "/a:b;"), ["/a", "/srv/b", "/srv"].map(PathBuf::from));
    assert_eq!(read("LD_PRELOAD", "/a/x.so y.so:./z.so"), ["/a/x.so", "/srv/z.so"].map(PathBuf::from));
    assert_eq!(read("LD_LIBRARY_PATH", ""), [""; 0].map(PathBuf::from));
}
