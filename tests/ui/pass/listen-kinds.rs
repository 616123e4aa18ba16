use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;

use prefork_rt::prefork;

fn path() -> String {
    format!("unix:{}/prefork-ui-{}.sock?mode=600", std::env::temp_dir().display(), std::process::id())
}

#[prefork(workers = 1, listen = ["127.0.0.1:0".to_owned(), path(), "udp:[::ffff:127.0.0.1]:0".to_owned()])]
fn main(tcp: TcpListener, unix: UnixListener, udp: Vec<UdpSocket>) -> std::io::Result<()> {
    assert_ne!(tcp.local_addr()?.port(), udp[0].local_addr()?.port());
    assert!(unix.local_addr()?.as_pathname().is_some());
    Ok(())
}
