use prefork_rt::prefork;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static LOADED: AtomicUsize = AtomicUsize::new(0);

mod config {
    pub fn load() {
        super::LOADED.fetch_add(1, super::Relaxed);
    }
}

#[prefork(workers = 2, preload = config::load)]
fn main() {
    assert_eq!(LOADED.load(Relaxed), 1);
}
