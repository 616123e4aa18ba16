//! gRPC with tonic. In a reload each client is told at once (GOAWAY), finishes what it has begun, and connects anew.
//!
//! `cargo run -p gallery-grpc` in the folder `examples/gallery`, then `cargo run -p gallery-grpc --bin grpc-client
//! http://127.0.0.1:8080 1000`, which asks a thousand times. `kill -HUP` the supervisor while it does.

use std::io;

use prefork_rt::hyper::serve;
use prefork_rt::{Worker, prefork};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

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

struct Greeter(Worker);

#[tonic::async_trait]
impl greeter_server::Greeter for Greeter {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let message = format!("hello {} from worker {}", request.into_inner().name, self.0.task_id());
        Ok(Response::new(HelloReply { message }))
    }
}

#[prefork(listen = "127.0.0.1:8080", ready_timeout = "10s", max_restarts = "unlimited")]
#[tokio::main(flavor = "current_thread")]
async fn main(worker: Worker, listener: TcpListener) -> io::Result<()> {
    serve(worker, listener, Routes::new(greeter_server::GreeterServer::new(Greeter(worker)))).await
}
