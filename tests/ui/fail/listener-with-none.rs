use prefork_rt::prefork;

use std::net;

#[prefork(listen = "none")]
fn main(_: net::TcpListener) {}
