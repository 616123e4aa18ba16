use prefork_rt::prefork;

// rustc's own error comes first and says what to do.
#[prefork]
fn main(task_id) {}
