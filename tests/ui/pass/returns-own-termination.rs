use prefork_rt::prefork;

use std::process::{ExitCode, Termination};

struct Done;

impl Termination for Done {
    fn report(self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

#[prefork(workers = 2)]
fn main() -> Done {
    Done
}
