use prefork_rt::prefork;

use std::net::TcpListener;

#[prefork(workers = 2, listen = "127.0.0.1:0")]
fn main(listener: TcpListener) -> std::io::Result<()> {
    assert!(listener.local_addr()?.ip().is_loopback());
    Ok(())
}
