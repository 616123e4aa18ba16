use prefork_rt::{Error, Worker, prefork};

#[prefork(listen = "admin=127.0.0.1:0")]
fn main(worker: Worker) -> Result<(), Error> {
    let _admin: std::net::TcpStream = worker.listener("admin")?;
    Ok(())
}
