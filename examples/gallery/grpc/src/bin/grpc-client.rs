//! A client of the example `grpc`: asks again and again, each time as soon as it has the answer.
//!
//! `cargo run -p gallery-grpc --bin grpc-client http://127.0.0.1:8080 1000`

use std::error::Error;

tonic::include_proto!("hello.Greeter");

#[derive(Clone, PartialEq, prost::Message)]
pub struct HelloRequest {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HelloReply {
    #[prost(string, tag = "1")]
    pub message: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(times)) = (arguments.next(), arguments.next()) else { return Err("URL TIMES".into()) };
    let mut greeter = greeter_client::GreeterClient::connect(url).await?;
    let mut answer = String::new();
    for _ in 0..times.parse()? {
        answer = greeter.say_hello(HelloRequest { name: "client".to_owned() }).await?.into_inner().message;
    }
    println!("{times} answers, the last: {answer}");
    Ok(())
}
