//! Builds the programs of the contenders, so that each has its own features however the benchmark itself is built.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Each program, and the arguments that build it.
const PROGRAMS: [(&str, &[&str]); 3] = [
    ("limit", &["--bin", "limit"]),
    ("pool", &["--bin", "pool"]),
    ("reseeding", &["--bin", "reseeding", "--features", "reseed"]),
];

/// Where the programs are.
static PLACE: LazyLock<PathBuf> = LazyLock::new(build);

pub fn path(program: &str) -> PathBuf {
    PLACE.join(program)
}

/// The program of this name where `pool` was built with an earlier prefork.
pub fn beside(pool: &Path, program: &str) -> Option<PathBuf> {
    let path = pool.with_file_name(program);
    path.exists().then_some(path)
}

/// Cargo unites the features of all packages that one command builds: those of the tests would be prefork's here, too.
fn build() -> PathBuf {
    let executable = env::current_exe().expect("/proc");
    let [target, release] = [3, 2].map(|up| executable.ancestors().nth(up).expect("target/release/deps/supervision-…"));
    for (program, arguments) in PROGRAMS {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--quiet", "--release", "--package", "contenders", "--target-dir"]).arg(target);
        let status = cargo.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
        assert!(status.success(), "the contenders do not build: {status}");
        // Pages of a file that are not on disk yet would count as its processes' dirty memory.
        File::open(release.join(program)).and_then(|file| file.sync_all()).expect("it was built");
    }
    release.to_owned()
}
