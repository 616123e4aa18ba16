use prefork_rt::prefork;

use std::net::TcpListener;

#[prefork(listen = "127.0.0.1:0")]
fn main(_a: TcpListener, _b: TcpListener) {}
