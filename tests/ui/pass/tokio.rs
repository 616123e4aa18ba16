#![deny(warnings)]

use prefork_rt::prefork;

use prefork_rt::Worker;

#[prefork(workers = 2)]
#[tokio::main]
async fn main(task_id: usize, worker: Worker) -> Result<(), tokio::task::JoinError> {
    let other = tokio::spawn(async move { worker.task_id() }).await?;
    assert_eq!(task_id, other);
    Ok(())
}
