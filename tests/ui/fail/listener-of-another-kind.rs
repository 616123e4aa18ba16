use prefork_rt::prefork;

use std::net::UdpSocket;
use std::os::unix::net::UnixListener;

#[prefork(listen = ["127.0.0.1:0", "web=localhost:0"])]
fn main(_a: UnixListener, _b: Vec<UdpSocket>, _c: std::net::TcpListener) {}
