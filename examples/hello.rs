//! The smallest pool: each worker says who it is and finishes, and then the supervisor does too.
//!
//! `cargo run --example hello`, or `PREFORK_WORKERS=8 cargo run --example hello`.

use prefork_rt::prefork;

#[prefork(workers = 4)]
fn main(task_id: usize) {
    println!("hello from worker {task_id}, pid {}", std::process::id());
}
