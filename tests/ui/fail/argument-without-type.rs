use prefork_rt::prefork;

#[prefork]
fn main(task_id) {}
