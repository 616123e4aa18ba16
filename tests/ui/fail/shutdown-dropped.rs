#![deny(unused_must_use)]

use prefork_rt::{Error, Shutdown, Worker, prefork};

#[prefork]
fn main(worker: Worker) -> Result<(), Error> {
    worker.shutdown();
    worker.get::<Shutdown>()?;
    Ok(())
}
