use prefork_rt::prefork;

#[prefork(listen = ["=127.0.0.1:80", "ad min=127.0.0.1:80", "udp:dns=127.0.0.1:53"])]
fn main() {}
