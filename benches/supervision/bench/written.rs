//! Writes what was measured into the guide: tables, and a chart.

use std::env;
use std::fs;
use std::num::NonZeroUsize;
use std::process::Command;
use std::thread::available_parallelism;

use super::chart;
use super::options::Options;
use super::peers::PeerRow;
use super::table::Table;

const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What the parts of the guide are made of.
pub struct Figures {
    /// The load average when the run began.
    pub load: String,
    pub comparison: Table,
    /// The rows above their aim, by name; empty where there are none.
    pub above: String,
    pub facts: Table,
    pub peers: Vec<PeerRow>,
}

pub fn write(options: &Options, figures: &Figures) {
    write_file("performance-figures.md", &text(options, figures));
    write_file("performance-chart.svg", &chart::draw(&figures.peers));
}

fn write_file(name: &str, text: &str) {
    let path = format!("{TOP}/prefork-rt/guide/{name}");
    fs::write(&path, text).unwrap_or_else(|error| panic!("{path} cannot be written: {error}"));
    println!("written: prefork-rt/guide/{name}");
}

fn text(options: &Options, figures: &Figures) -> String {
    let Figures { load, comparison, above, facts, peers } = figures;
    let above = if above.is_empty() { "No row is above its aim.".into() } else { format!("Above the aim: {above}.") };
    format!(
        "## Figures\n\n\
         `cargo bench --bench supervision -- --write` wrote this part of the chapter.\n\n\
         {}\n\
         ### Against the limit\n\n\
         {} rounds.\n\n{}\n{above}\n\n\
         ### Without a limit\n\n{}\n\
         ### Sockets\n\n```text\n{}\n```\n\n\
         ### Against other servers\n\n\
         {} rounds. The limit has times, in medians; the others have multiples of them, with the lowest and the highest \
         round.\n\n{}",
        circumstances(load),
        options.rounds,
        comparison.markdown(),
        facts.markdown(),
        sockets(options),
        options.peer_rounds,
        PeerRow::table(peers).markdown(),
    )
}

/// Date, sources and machine.
fn circumstances(load: &str) -> String {
    let cpus = available_parallelism().map_or(1, NonZeroUsize::get);
    let facts = [
        ("date", output("date", &["-u", "+%F"])),
        ("commit", output("git", &["rev-parse", "--short", "HEAD"])),
        ("processor", format!("{}, {cpus} CPUs", processor())),
        ("kernel", format!("Linux {}", file("/proc/sys/kernel/osrelease"))),
        ("compiler", output("rustc", &["--version"])),
        ("load average when the run began", load.to_owned()),
    ];
    let mut table = Table::new(["sources and machine", ""]);
    facts.into_iter().for_each(|(name, value)| table.push(vec![name.into(), value]));
    table.markdown()
}

fn processor() -> String {
    let information = file("/proc/cpuinfo");
    let name = information.lines().find(|line| line.starts_with("model name"));
    let name = name.and_then(|line| line.split_once(": ")).map_or(env::consts::ARCH, |(_, name)| name);
    name.to_owned()
}

fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The table of the other benchmark, in a shorter run.
fn sockets(options: &Options) -> String {
    let rounds = options.rounds.div_ceil(3).to_string();
    output("cargo", &["bench", "--quiet", "--bench", "listeners", "--", "--rounds", &rounds, "kept", "balance"])
}

/// What a command prints.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(TOP).output();
    let output = output.unwrap_or_else(|error| panic!("{program} does not run: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
