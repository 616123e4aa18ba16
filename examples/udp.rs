//! A UDP service: the workers share one socket, and each datagram goes to one of them.
//!
//! `cargo run --example udp`, then `echo hello | nc -u -w1 127.0.0.1 5300` a few times: each answer says which worker gave
//! it. `kill -9` one, or `kill -HUP` the supervisor, and ask on: datagrams wait in the socket, which stays open.

use std::io;

use prefork_rt::{Shutdown, Worker, prefork};
use tokio::net::UdpSocket;

/// The largest datagram that is read whole.
const LARGEST: usize = 1500;

#[prefork(workers = 4, listen = "udp:127.0.0.1:5300", ready_timeout = "10s", max_restarts = "unlimited")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, mut shutdown: Shutdown, socket: UdpSocket) -> io::Result<()> {
    let mut datagram = [0; LARGEST];
    worker.ready();
    loop {
        tokio::select! {
            // What was received is answered before the stop is looked at again.
            _ = &mut shutdown => return Ok(()),
            received = socket.recv_from(&mut datagram) => {
                // An error tells that a client of before is gone, which concerns no other.
                let Ok((length, client)) = received else { continue };
                let text = String::from_utf8_lossy(&datagram[..length]);
                let answer = format!("worker {} heard {}\n", worker.task_id(), text.trim_end());
                let _ = socket.send_to(answer.as_bytes(), client).await;
            }
        }
    }
}
