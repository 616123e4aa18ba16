use prefork_rt::prefork;

#[prefork(listen = ["localhost", "udp:localhost", "256.0.0.1:80", "-.org:80"])]
fn main() {}
