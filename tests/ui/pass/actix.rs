use prefork_rt::prefork;

#[prefork(workers = 2)]
#[actix_rt::main]
async fn main(task_id: usize) -> std::io::Result<()> {
    let other = actix_rt::spawn(async move { task_id }).await?;
    assert_eq!(task_id, other);
    Ok(())
}
