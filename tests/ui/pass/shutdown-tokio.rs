use nix::sys::signal::{Signal, kill};
use prefork_rt::{Worker, prefork};
use tokio::signal::unix::{SignalKind, signal};

#[prefork(workers = 2)]
#[tokio::main]
async fn main(worker: Worker) -> Result<(), Box<dyn std::error::Error>> {
    // The first of each task id tells itself to stop, which is no reason not to replace it.
    if worker.restarts() > 0 {
        return Ok(());
    }
    // Tokio's own handlers may be there before and after, and see the signal too.
    let mut before = signal(SignalKind::terminate())?;
    let mut shutdown = worker.shutdown();
    let mut after = signal(SignalKind::terminate())?;

    let others: Vec<_> = (0..10).map(|_| tokio::spawn(worker.shutdown())).collect();
    let blocking = tokio::task::spawn_blocking(move || worker.shutdown().wait());
    tokio::select! {
        _ = &mut shutdown => return Err("nobody asked for it".into()),
        _ = tokio::task::yield_now() => {}
    }

    kill(nix::unistd::Pid::this(), Signal::SIGTERM)?;
    (&mut shutdown).await;
    assert!(shutdown.is_requested());
    for other in others {
        other.await?;
    }
    blocking.await?;
    before.recv().await;
    after.recv().await;
    Ok(())
}
