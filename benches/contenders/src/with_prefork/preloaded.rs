//! The contender whose workers share a gigabyte, as the attribute gives it to them.

use std::process::ExitCode;
use std::sync::OnceLock;

use contenders::{body, gigabyte};
use prefork_rt::{Worker, prefork};

struct Asked {
    workers: usize,
    read: bool,
}

static ASKED: OnceLock<Asked> = OnceLock::new();

pub fn contend(name: &str, workers: usize) -> ExitCode {
    ASKED.get_or_init(|| Asked { workers, read: name == "read" });
    main();
    ExitCode::SUCCESS
}

fn asked() -> &'static Asked {
    ASKED.get().expect("set before `main` is called")
}

#[prefork(preload = gigabyte::allocate, workers = asked().workers, max_restarts = "unlimited", backoff = "0s")]
fn main(worker: Worker, data: &Vec<u8>) {
    if asked().read { body::read(worker.task_id(), data) } else { body::wait(worker.task_id()) }
}
