use prefork_rt::prefork;

#[prefork(listen = ["127.0.0.1:80", "127.0.0.1", "*:80", "unix:/run/app.sock"])]
fn main() {}
