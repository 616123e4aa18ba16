use prefork_rt::prefork;

#[prefork(listen = ["unix:", "unix:/run/", "unix:/run/a?mode=888", "unix:/run/a?mdoe=660", "unix:/run/a?owner="])]
fn main() {}
