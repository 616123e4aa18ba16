use prefork_rt::prefork;

#[prefork(workers = 2)]
#[tokio::main]
async fn main(task_id: usize) -> Result<(), String> {
    let _: String = task_id;
    Ok(())
}
