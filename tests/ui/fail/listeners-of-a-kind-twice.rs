use prefork_rt::prefork;

use std::net::UdpSocket;

#[prefork(listen = ["127.0.0.1:0", "udp:127.0.0.1:0"])]
fn main(_a: Vec<tokio::net::TcpListener>, _b: std::net::TcpListener, _c: UdpSocket, _d: UdpSocket) {}
