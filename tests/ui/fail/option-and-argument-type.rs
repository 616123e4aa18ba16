use std::net::UdpSocket;

use prefork_rt::{Worker, prefork};

#[prefork(workers = "max")]
fn main(socket: UdpSocket, worker: Worker, list: Vec<u8>) {
    let _: UdpSocket = socket;
    let _: (Worker, Vec<u8>) = (worker, list);
}
