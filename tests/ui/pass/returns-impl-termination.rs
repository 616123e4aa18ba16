use prefork_rt::prefork;

use std::process::Termination;

#[prefork(workers = 2)]
fn main() -> impl Termination {
    Ok::<(), String>(())
}
