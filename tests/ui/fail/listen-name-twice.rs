use prefork_rt::prefork;

#[prefork(listen = ["admin=127.0.0.1:80", "web=127.0.0.1:81", "admin=unix:/run/app.sock"])]
fn main() {}
