use prefork_rt::prefork;

#[prefork(listen = ["127.0.0.1:80", "127.0.0.1", "*:http", "unix:app.sock", "tcp:127.0.0.1:80", "/run/app.sock"])]
fn main() {}
