//! How the benchmark begins: the same program is the process that measures and, started anew, each contender.
//!
//! It must not know what is measured.

use std::env;
use std::process::{Command, ExitCode};

use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

/// Contends or measures, as the program's arguments say.
pub fn run(contend: fn(&str, usize) -> ExitCode, measure: fn(&[&str]) -> ExitCode) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--contender", name, workers] => {
            if !ends_with_its_parent() {
                return ExitCode::FAILURE;
            }
            contend(name, workers.parse().expect("a number of workers"))
        }
        // `cargo bench` says so; `cargo test --benches` does not, and wants no long job.
        _ if !arguments.contains(&"--bench") => {
            println!("nothing is measured without --bench: run `cargo bench`");
            ExitCode::SUCCESS
        }
        _ => measure(&arguments),
    }
}

/// The command that runs this program as a contender, with an empty environment.
pub fn contender(name: &str, workers: usize) -> Command {
    let mut command = Command::new(env::current_exe().expect("/proc"));
    command.args(["--contender", name, &workers.to_string()]);
    command.env_clear().env("BENCH_PARENT", getpid().to_string());
    command
}

/// Ties this process to the process that measures, if that one is still there.
fn ends_with_its_parent() -> bool {
    let parent = env::var("BENCH_PARENT").expect("set by the process that measures");
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).expect("prctl(2)");
    getppid().to_string() == parent
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
