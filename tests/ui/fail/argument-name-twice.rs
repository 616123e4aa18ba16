use prefork_rt::{Worker, prefork};

// rustc says it.
#[prefork]
fn main(task: usize, task: Worker) {
    let _ = task;
}
