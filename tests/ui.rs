//! What the attribute refuses, in which words and where, and what it accepts.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn attribute() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}

/// Tools read every message, and where cargo compiles incrementally, rustc does not notice that it repeats one.
#[test]
fn a_tool_is_told_each_mistake_once() {
    const CASES: [(&str, usize); 10] = [
        ("argument-type-span", 1),
        ("argument-type-unresolved", 1),
        ("option-and-argument-type", 3),
        ("preload-async-lent", 1),
        ("preload-not-a-function", 1),
        ("preload-taken-by-value", 1),
        ("preload-unresolved", 1),
        ("preload-with-argument", 1),
        ("preload-wrong-type", 1),
        ("workers-expression-type", 1),
    ];
    let messages = messages(&CASES.map(|(case, _)| case));
    for (case, mistakes) in CASES {
        let is_error = |line: &&str| {
            let of_case = line.contains("\"compiler-message\"") && line.contains(&format!("\"name\":\"{case}\""));
            of_case && line.contains("\"level\":\"error\"") && line.contains("\"spans\":[{")
        };
        assert_eq!(messages.lines().filter(is_error).count(), mistakes, "{case}: {messages}");
    }
}

/// What cargo tells tools of these programs, one message on a line.
fn messages(cases: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("told-to-tools");
    let mut manifest = format!(
        "[package]\nname = \"told-to-tools\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nprefork-rt.path = {:?}\n",
        root.join("prefork-rt")
    );
    for case in cases {
        let path = root.join("tests/ui/fail").join(case).with_extension("rs");
        manifest.push_str(&format!("[[bin]]\nname = {case:?}\npath = {path:?}\n"));
    }
    fs::create_dir_all(&package).expect("a directory");
    fs::write(package.join("Cargo.toml"), manifest).expect("written");
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).expect("copied");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["check", "--offline", "--keep-going", "--message-format=json"]).current_dir(&package);
    let output = cargo.env("CARGO_INCREMENTAL", "1").env("CARGO_TARGET_DIR", package.join("target")).output();
    String::from_utf8(output.expect("cargo").stdout).expect("text")
}
