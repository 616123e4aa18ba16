use prefork_rt::prefork;

fn bytes() -> usize {
    1 << 30
}

fn seconds() -> u64 {
    30
}

#[prefork(restart = true && false, max_lifetime = seconds(), max_memory = bytes(), reload = Some("overlap"))]
fn main() {}
