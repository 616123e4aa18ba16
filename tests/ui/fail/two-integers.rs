use prefork_rt::prefork;

#[prefork]
fn main(_task_id: usize, _workers: u32) {}
