use prefork_rt::prefork;

use std::cell::Cell;

fn load() -> Cell<u8> {
    Cell::new(1)
}

#[prefork(preload = load)]
fn main(_: &Cell<u8>) {}
