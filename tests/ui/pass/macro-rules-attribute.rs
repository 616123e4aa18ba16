use prefork_rt::prefork;

use macro_rules_attribute::apply;

macro_rules! block_on {
    ($(#[$attr:meta])* async fn main() -> $result:ty $body:block) => {
        $(#[$attr])*
        fn main() -> $result {
            tokio::runtime::Builder::new_current_thread().build()?.block_on(async $body)
        }
    };
}

#[prefork(workers = 2)]
#[apply(block_on!)]
async fn main(task_id: usize) -> std::io::Result<()> {
    assert!(task_id < 2);
    Ok(())
}
