use prefork_rt::prefork;

use prefork_rt::Worker;

#[prefork(workers = 2)]
fn main(worker: Worker) {
    assert!(worker.task_id() < worker.workers());
}
