//! The same program as `pool`, with the features that reseed the generators of three crates in every worker.

mod with_prefork;

fn main() -> std::process::ExitCode {
    with_prefork::main()
}
