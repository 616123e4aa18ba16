use std::net::{TcpListener, UdpSocket};

use prefork_rt::{Error, Worker, prefork};

#[prefork(workers = 2, listen = ["public=127.0.0.1:0, admin=localhost:0", "dns=udp:127.0.0.1:0"])]
fn main(worker: Worker, dns: UdpSocket) -> Result<(), Error> {
    let public: TcpListener = worker.listener("public")?;
    let admin: Vec<TcpListener> = worker.listener("admin")?;
    assert!(public.local_addr().unwrap().ip().is_loopback() && dns.local_addr().unwrap().ip().is_loopback());
    assert!(admin.iter().all(|listener| listener.local_addr().unwrap().ip().is_loopback()));
    Ok(())
}
