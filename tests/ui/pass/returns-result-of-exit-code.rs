use prefork_rt::prefork;

use std::process::ExitCode;

#[prefork(workers = 2)]
fn main() -> Result<ExitCode, String> {
    Ok(ExitCode::SUCCESS)
}
