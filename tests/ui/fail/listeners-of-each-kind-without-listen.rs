use prefork_rt::prefork;

use std::net;
use std::os::unix;

#[prefork]
fn main(_a: unix::net::UnixListener, _b: net::UdpSocket, _c: tokio::net::TcpListener) {}
