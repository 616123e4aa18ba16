use std::net::TcpListener;

use prefork_rt::{Worker, prefork};

#[prefork(listen = "127.0.0.1:0")]
fn main(worker: &Worker, task_id: &usize, listener: &TcpListener) {
    let _ = (worker, task_id, listener);
}
