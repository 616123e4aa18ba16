//! A client of the example `websocket`: says something, hears it again, and tells how the connection ends.
//!
//! `cargo run -p gallery-websocket --bin websocket-client 127.0.0.1:8080`

use tungstenite::{Message, connect};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("an address is missing")?;
    let (mut socket, _) = connect(format!("ws://{address}/echo"))?;
    socket.send("are you there".into())?;
    loop {
        match socket.read()? {
            Message::Text(text) => println!("heard: {text}"),
            Message::Close(Some(frame)) => {
                println!("closed with {}: {}", frame.code, frame.reason);
                break;
            }
            _ => {}
        }
    }
    // The answer to the Close frame is sent, and the server ends the connection.
    while socket.read().is_ok() {}
    Ok(())
}
