#![deny(warnings)]

use prefork_rt::prefork;

use prefork_rt::Worker;

#[prefork(workers = 1)]
fn main(
    #[allow(unused_variables)] task_id: usize,
    #[cfg(unix)] worker: Worker,
    #[cfg(not(unix))] worker: NoSuchType,
    #[cfg(any())] listener: std::net::TcpListener,
    #[cfg(any())] other_id: u32,
    #[cfg_attr(all(), expect(unused_variables))] unused: Worker,
) {
    assert_eq!(worker.workers(), 1);
}
