#![deny(warnings)]

use prefork_rt::{Error, Shutdown, Worker, prefork};

mod by_path {
    #[prefork_rt::prefork(workers = 1)]
    pub fn main(shutdown: prefork_rt::Shutdown, _: ::prefork_rt::Shutdown) {
        assert!(!shutdown.is_requested());
    }
}

mod blocking {
    #[prefork_rt::prefork(workers = 1)]
    pub fn main(shutdown: super::Shutdown) {
        assert!(!shutdown.is_requested());
    }
}

#[prefork(workers = 1)]
#[tokio::main(flavor = "current_thread")]
async fn main(mut shutdown: Shutdown, worker: Worker) -> Result<(), Error> {
    let (_, _) = (blocking::main, by_path::main);
    tokio::select! {
        biased;
        () = &mut shutdown => panic!("no stop was requested"),
        () = tokio::task::yield_now() => {}
    }
    assert!(!worker.get::<Shutdown>()?.is_requested());
    Ok(())
}
