use prefork_rt::prefork;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

#[prefork(workers = 1, listen = ["127.0.0.1:0", "udp:127.0.0.1:0"])]
#[tokio::main]
async fn main(listener: TcpListener, socket: UdpSocket) -> std::io::Result<()> {
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    listener.accept().await?.0.write_all(b"hello").await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    assert_eq!(answer, "hello");
    socket.send_to(b"hello", socket.local_addr()?).await?;
    assert_eq!(socket.recv(&mut [0; 16]).await?, 5);
    Ok(())
}
