use std::net::{SocketAddr, TcpListener, TcpStream};

use prefork_rt::prefork;

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

#[prefork(workers = 1, listen = ["127.0.0.1:0", "127.0.0.1:0"])]
fn main(listeners: Vec<TcpListener>) {
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    assert_eq!(addresses.len(), 2);
    assert_ne!(addresses[0], addresses[1]);
    assert!(addresses.into_iter().all(is_open));
}
