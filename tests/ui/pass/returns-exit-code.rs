use prefork_rt::prefork;

use std::process::ExitCode;

#[prefork(workers = 2)]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}
