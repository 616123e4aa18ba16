//! What prefork adds to a user's build and binary, as `.ci/weight.sh` measures it.

use std::collections::BTreeMap;
use std::process::Command;

use super::at_rest::Fact;
use super::figures::Unit;

const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Where the script fails, as without a network on a machine that never built this, one line says why.
pub fn weigh() -> Vec<Fact> {
    let output = Command::new("bash").args([".ci/weight.sh", "--plain"]).env("ROUNDS", "1").current_dir(TOP).output();
    let reason = match output {
        Ok(output) if output.status.success() => return facts(&String::from_utf8_lossy(&output.stdout)),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    };
    println!("not measured: build and size: .ci/weight.sh failed: {reason}");
    Vec::new()
}

fn facts(lines: &str) -> Vec<Fact> {
    let words = lines.lines().filter_map(|line| line.split_once(' '));
    let figures: BTreeMap<&str, f64> = words.filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
    let figure = |name| *figures.get(name).unwrap_or_else(|| panic!("weight.sh prints {name}"));
    let fact =
        |name: &str, figure, aim: &str| Fact { name: name.into(), workers: String::new(), figure, aim: aim.into() };
    let seconds = |name| Unit::Time.write(figure(name) * 1e6);
    let (build, of_tokio) = (seconds("build_ms"), figure("build_ms") / figure("tokio_build_ms"));
    let libraries = figure("build_bytes") / figure("tokio_build_bytes");
    let [hello, above] =
        [figure("hello_bytes"), figure("hello_bytes") - figure("plain_bytes")].map(|bytes| bytes / 1000.0);
    vec![
        fact("cold build of a user's crate: CPU, and over tokio's", format!("{build}, {of_tokio:.2}"), "1.5"),
        fact("the libraries of that build, over tokio's", format!("{libraries:.2}"), ""),
        fact(
            "hello, release, stripped: size, and above a plain one",
            format!("{hello:.0} kB, {above:.0} kB"),
            "500 kB",
        ),
    ]
}
