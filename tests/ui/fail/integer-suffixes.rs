use prefork_rt::prefork;

#[prefork(workers = 4u64, max_restarts = 4i64, max_memory = 536_870_912usize)]
fn main() {}
