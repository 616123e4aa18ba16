use prefork_rt::prefork;

#[prefork]
fn main(_: ::std::net::TcpListener) {}
