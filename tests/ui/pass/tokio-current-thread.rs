#![deny(warnings)]

use prefork_rt::prefork;

#[prefork(workers = 2)]
#[tokio::main(flavor = "current_thread")]
async fn main(task_id: usize) {
    assert!(async { task_id }.await < 2);
}
