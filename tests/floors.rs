//! The floors of `prefork-rt`, as CONTRIBUTING.md lists them: what a module may import, read from the source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A module at the root of the crate, with all that is in its folder.
type Module = String;

#[test]
fn every_module_stands_on_one_floor() {
    let floors = floors();
    let modules = sources().into_keys().filter(|module| !is_the_root(module)).collect::<BTreeSet<_>>();
    let listed = floors.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(modules, listed, "left: the modules of prefork-rt/src, right: the table of floors in CONTRIBUTING.md");
}

#[test]
fn no_import_runs_up() {
    let floors = floors();
    let mut upward = Vec::new();
    for (module, files) in sources().iter().filter(|(module, _)| !is_the_root(module)) {
        for (file, text) in files {
            for name in imports(text, file) {
                match floors.get(&name) {
                    Some(floor) if *floor <= floors[module] => (),
                    Some(floor) => upward.push(format!("{}: {name} of floor {floor}", file.display())),
                    None => upward.push(format!("{}: {name} of lib.rs", file.display())),
                }
            }
        }
    }
    assert!(upward.is_empty(), "these import from a higher floor than their own:\n{}", upward.join("\n"));
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() {
    let mut arrows: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, files) in sources().into_iter().filter(|(module, _)| !is_the_root(module)) {
        let names = files.iter().flat_map(|(file, text)| imports(text, file));
        arrows.insert(module, names.collect());
    }
    // A module that imports none of the others, or that none of them imports, is in no circle.
    loop {
        let left = arrows.keys().cloned().collect::<BTreeSet<_>>();
        let imported = arrows.values().flatten().cloned().collect::<BTreeSet<_>>();
        arrows.retain(|module, to| {
            to.retain(|to| left.contains(to));
            !to.is_empty() && imported.contains(module)
        });
        if arrows.len() == left.len() {
            break;
        }
    }
    assert!(arrows.is_empty(), "circles, and what stands between two: {arrows:#?}");
}

#[test]
fn an_arrow_is_found_however_it_is_written() {
    let file = Path::new("policy/turn.rs");
    for (text, found) in [
        ("use crate::sys;", vec!["sys"]),
        ("use crate::{error, listen::{self, slots}, sys::Pid};", vec!["error", "listen", "sys"]),
        ("use crate::{\n    error,\n    sys,\n};", vec!["error", "sys"]),
        ("    let pid = crate::sys::pid();", vec!["sys"]),
        ("pub(in crate::policy) fn f() {}", vec![]),
        ("use super::super::start;", vec!["start"]),
        ("use super::slot; use crate::policy::slot;", vec![]),
        ("/// See [`crate::worker()`].\n// crate::notify\nfn f() {} // crate::upgrade", vec![]),
        ("$crate::sys::f(); prefork_crate::f();", vec!["sys"]),
        ("format!(\"[{option}](crate::options::{option})\")", vec![]),
    ] {
        let found = found.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(imports(text, file), found, "{text}");
    }
}

/// The floor of each module, from the table in CONTRIBUTING.md.
fn floors() -> BTreeMap<Module, u32> {
    let text = fs::read_to_string(Path::new(ROOT).join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| floor | modules |")).skip(2);
    let rows = table.map_while(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        Some((cells.next()?.parse::<u32>().expect("the number of a floor"), cells.next()?))
    });
    let modules = rows.flat_map(|(floor, modules)| {
        let names = modules.split('`').skip(1).step_by(2);
        names.map(move |name| (name.to_owned(), floor))
    });
    let floors = modules.collect::<Vec<_>>();
    let once = floors.iter().cloned().collect::<BTreeMap<_, _>>();
    assert_eq!(once.len(), floors.len(), "a module stands on two floors: {floors:?}");
    once
}

/// `lib.rs` and the file that it reads its modules from: the public names, which may import everything.
fn is_the_root(module: &str) -> bool {
    ["lib", "unix", "guide"].contains(&module)
}

fn sources() -> BTreeMap<Module, Vec<(PathBuf, String)>> {
    let source = Path::new(ROOT).join("prefork-rt/src");
    let mut modules: BTreeMap<Module, Vec<(PathBuf, String)>> = BTreeMap::new();
    for file in rust_files(&source) {
        let text = fs::read_to_string(&file).expect("a source file");
        let file = file.strip_prefix(&source).expect("a file in the folder").to_owned();
        let first = file.components().next().expect("a name").as_os_str().to_string_lossy();
        modules.entry(first.trim_end_matches(".rs").to_owned()).or_default().push((file, text));
    }
    assert!(modules.len() > 10, "{modules:?}");
    modules
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => rust_files(&path),
            Some(extension) if extension == "rs" => vec![path],
            _ => Vec::new(),
        })
        .collect()
}

/// The modules of the crate's root, other than the file's own, that the code of a file names.
fn imports(text: &str, file: &Path) -> BTreeSet<Module> {
    let code = without_comments(text);
    // The way to the root for code at the top level of the file: one `super::` for each folder, and one for the file.
    let to_the_root = "super::".repeat(file.components().count());
    let roots = ["crate::", to_the_root.as_str()];
    let own = file.components().next().map(|first| first.as_os_str().to_string_lossy().into_owned());
    let own = own.expect("a name").trim_end_matches(".rs").to_owned();
    let starts = roots.iter().flat_map(|root| code.match_indices(root).map(|(at, _)| (at, at + root.len())));
    let whole = starts.filter(|(at, end)| {
        let before = code[..*at].chars().next_back();
        let line = code[..*at].rfind('\n').map_or(0, |newline| newline + 1);
        // An indented `super` may stand in a module inside the file, and then does not lead to the root.
        let leads = code[*at..*end] == *"crate::" || !code[line..].starts_with(' ');
        let is_a_link = code[..*at].ends_with("](");
        leads && !is_a_link && !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
    });
    whole.flat_map(|(_, end)| names(&code[end..])).filter(|name| *name != own).collect()
}

/// `a::b` is `a`; `{a, b::{c, d}}` are `a` and `b`.
fn names(path: &str) -> Vec<Module> {
    let identifier = |text: &str| {
        let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let Some(list) = path.strip_prefix('{') else {
        return Vec::from_iter(Some(identifier(path)).filter(|name| !name.is_empty()));
    };
    let (mut found, mut item, mut depth) = (Vec::new(), String::new(), 0);
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(mem::take(&mut item)),
            letter if depth == 0 => item.push(letter),
            _ => (),
        }
    }
    found.push(item);
    found.iter().map(|item| identifier(item.trim())).filter(|name| !name.is_empty()).collect()
}

fn without_comments(text: &str) -> String {
    let code = text.lines().map(|line| match line.trim_start().starts_with("//") {
        true => "",
        false => line.split(" // ").next().unwrap_or_default(),
    });
    code.collect::<Vec<_>>().join("\n")
}
