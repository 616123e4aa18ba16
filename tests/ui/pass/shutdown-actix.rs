use nix::sys::signal::{Signal, kill};
use prefork_rt::{Worker, prefork};

#[prefork(workers = 2)]
#[actix_rt::main]
async fn main(worker: Worker) -> Result<(), Box<dyn std::error::Error>> {
    // The first of each task id tells itself to stop, which is no reason not to replace it.
    if worker.restarts() > 0 {
        return Ok(());
    }
    let other = actix_rt::spawn(worker.shutdown());
    actix_rt::time::sleep(std::time::Duration::from_millis(1)).await;
    kill(nix::unistd::Pid::this(), Signal::SIGTERM)?;
    other.await?;
    worker.shutdown().await;
    Ok(())
}
