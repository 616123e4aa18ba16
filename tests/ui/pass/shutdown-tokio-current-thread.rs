use nix::sys::signal::{Signal, kill};
use prefork_rt::{Worker, prefork};

#[prefork(workers = 2)]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker) -> Result<(), Box<dyn std::error::Error>> {
    // The first of each task id tells itself to stop, which is no reason not to replace it.
    if worker.restarts() > 0 {
        return Ok(());
    }
    let other = tokio::spawn(worker.shutdown());
    let mut shutdown = worker.shutdown();
    tokio::select! {
        biased;
        _ = &mut shutdown => return Err("nobody asked for it".into()),
        _ = tokio::task::yield_now() => {}
    }
    kill(nix::unistd::Pid::this(), Signal::SIGTERM)?;
    other.await?;
    shutdown.await;
    Ok(())
}
