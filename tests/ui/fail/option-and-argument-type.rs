use std::net::TcpStream;

use prefork_rt::{Worker, prefork};

#[prefork(workers = "max")]
fn main(socket: TcpStream, worker: Worker, list: Vec<u8>) {
    let _: TcpStream = socket;
    let _: (Worker, Vec<u8>) = (worker, list);
}
