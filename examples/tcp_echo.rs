//! A blocking echo server, with nothing but std: one connection at a time in each of four workers.
//!
//! `cargo run --example tcp_echo`, then `nc 127.0.0.1 7777`. A blocking worker needs no signal code: SIGTERM ends it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use prefork_rt::prefork;

#[prefork(workers = 4, listen = "127.0.0.1:7777")]
fn main(task_id: usize, listener: TcpListener) -> std::io::Result<()> {
    for connection in listener.incoming() {
        let connection = connection?;
        println!("worker {task_id} talks to {}", connection.peer_addr()?);
        // A client that goes away in the middle is no reason to end the worker.
        if let Err(error) = echo(connection) {
            println!("worker {task_id}: {error}");
        }
    }
    Ok(())
}

fn echo(mut connection: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match connection.read(&mut buffer)? {
            0 => return Ok(()),
            count => connection.write_all(&buffer[..count])?,
        }
    }
}
