use prefork_rt::prefork;

use std::net::TcpListener;

use prefork_rt::Worker;

fn load() -> String {
    "loaded".to_owned()
}

#[prefork(workers = 2, listen = ["127.0.0.1:0"], preload = load)]
fn main(text: &String, worker: Worker, listener: TcpListener, task_id: usize, again: &'static str) {
    assert_eq!((text.as_str(), worker.task_id()), (again, task_id));
    drop(listener);
}
