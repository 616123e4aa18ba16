use prefork_rt::prefork;

use std::net::TcpListener;

#[prefork(lisetn = "127.0.0.1:0", prelod = load)]
fn main(_: TcpListener, _: &String) {}
