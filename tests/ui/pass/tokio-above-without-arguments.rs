use prefork_rt::prefork;

#[tokio::main]
#[prefork(workers = 2)]
async fn main() {
    assert!(async { prefork_rt::task_id() }.await.is_some());
}
