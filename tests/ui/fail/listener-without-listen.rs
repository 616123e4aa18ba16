use prefork_rt::prefork;

use std::net::TcpListener;

#[prefork]
fn main(_: TcpListener) {}
