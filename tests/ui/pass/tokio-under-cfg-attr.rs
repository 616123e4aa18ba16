use prefork_rt::prefork;

#[prefork(workers = 2)]
#[cfg_attr(all(), tokio::main(flavor = "current_thread"))]
async fn main(task_id: usize) {
    assert!(task_id < 2);
}
